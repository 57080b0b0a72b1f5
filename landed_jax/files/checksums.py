"""Checksums of folders and JSON objects, to detect changed bits before values are used."""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEAL = "checksum"


def folder_checksums(folder: Path) -> dict[str, str]:
    """CRC-32 of every file of a folder, by its path in the folder."""
    return {name: crc32(folder / name) for name in files_of(folder)}


def files_of(folder: Path) -> list[str]:
    """The paths in the folder of all that is no folder: files, links, pipes and devices."""
    inside = ((Path(place), names) for place, _, names in os.walk(folder))
    return sorted((place / name).relative_to(folder).as_posix() for place, names in inside for name in names)


def crc32(path: Path) -> str:
    """CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with one more field: the SHA-256 of all others.

    >>> unsealed(sealed({"layers": 4})), unsealed({**sealed({"layers": 4}), "layers": 5})
    (True, False)
    """
    return {**values, _SEAL: _digest(values)}


def unsealed(values: Mapping[str, Any]) -> bool:
    """Whether a JSON object is what `sealed` made."""
    return values.get(_SEAL) == _digest({name: value for name, value in values.items() if name != _SEAL})


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
