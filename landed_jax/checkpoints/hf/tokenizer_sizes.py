"""The sizes that a tokenizer.json states, held against the file before the tokenizer's reader allocates them."""

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError

LARGEST_TOKENIZER_FILE = 64 << 20
"""Bytes of one of a tokenizer's files; twice the largest of any published model."""

_MOST_NODES = 4_000_000  # lists and objects: seven times those of the largest; parsed, each takes 60 bytes and more
_MOST_GROWTH = 4096  # characters that replacements may make of one
_STEPS = re.compile(r'"(?:normalizer|decoder)"\s*:\s*')


def check_sizes(path: Path) -> None:
    """Refuse a tokenizer.json that would exhaust the memory: Rust code ends the process where it does.

    Raises:
        LandedError: if it has too many lists and objects, replacements that multiply a text, or a character map (of
            SentencePiece's normalisation) that is shorter than it says.
    """
    data = path.read_bytes()
    if data.count(b"[") + data.count(b"{") > _MOST_NODES:
        raise LandedError(f"{path} has more than {_MOST_NODES:,} lists and objects, which no tokenizer has.")
    for steps in _steps(data):
        growth = 1
        for node in _objects(steps):
            if not _is_whole(node.get("precompiled_charsmap")):
                raise LandedError(f"{path} is damaged: its character map (precompiled_charsmap) is too short.")
            if node.get("type") == "Replace" and isinstance(node.get("content"), str):
                growth *= max(len(node["content"]), 1)
        if growth > _MOST_GROWTH:
            raise LandedError(f"{path} makes more than {_MOST_GROWTH:,} characters of one, which no tokenizer does.")


def _steps(data: bytes) -> list[Any]:
    """The normaliser and the decoder of a tokenizer.json; nothing where it cannot be read, which its reader says."""
    with contextlib.suppress(ValueError, RecursionError):
        if rb"\u00" in data:  # in which the two names could stand
            values = json.loads(data)
            return [values.get("normalizer"), values.get("decoder")] if isinstance(values, dict) else []
        text, decoder = data.decode(), json.JSONDecoder()
        return [decoder.raw_decode(text, found.end())[0] for found in _STEPS.finditer(text)]
    return []


def _objects(values: Any) -> Iterator[dict[str, Any]]:
    left = [values]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
            left += node.values()
        elif isinstance(node, list):
            left += node


def _is_whole(charsmap: Any) -> bool:
    """Whether a character map has as many bytes as its first four say; what is no map is not judged."""
    if not isinstance(charsmap, str):
        return True
    try:
        data = base64.b64decode(charsmap)
    except (binascii.Error, ValueError):
        return True
    return 4 + int.from_bytes(data[:4], "little") <= len(data)
