"""Reading a JSON object from a file of an untrusted folder, with plain errors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError, first_line
from landed_jax.files.kinds import is_ordinary
from landed_jax.files.wrong_content import wrong_content

LARGEST = 16 << 20
"""Bytes of the largest file that is read: parsed, one of brackets alone takes 20 times as much."""

_DEEPEST = 64  # levels; deeper ones end in a RecursionError wherever they are shown, compared or written
_DIGITS = 400  # of a whole number; the time to read more grows with their square


def read_json_object(path: Path, largest: int = LARGEST) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        largest: bytes of the largest file that is read.

    Raises:
        LandedError: if the file is missing, unreadable, too large, not JSON, nested too deeply, or does not contain an
            object.
    """
    if not is_ordinary(path, largest):
        raise LandedError(f"{path.parent} has no {path.name}.")
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(largest).decode(), parse_int=_whole)
    except RecursionError:
        raise LandedError(f"{path} cannot be read as JSON: it is nested too deeply.") from None
    except (OSError, ValueError) as error:
        if (instead := wrong_content(path)) is not None:
            raise LandedError(f"{path} is {instead}.") from error
        raise LandedError(f"{path} cannot be read as JSON: {first_line(error)}.") from error
    if not isinstance(values, dict):
        raise LandedError(f"{path} holds a JSON {type(values).__name__}, not an object of fields.")
    if _depth(values) > _DEEPEST:
        raise LandedError(f"{path} cannot be read as JSON: it is nested too deeply.")
    return values


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"it has a whole number of {len(digits):,} digits")
    return int(digits)


def _depth(values: Mapping[str, Any]) -> int:
    """How deeply objects and lists are nested, up to one more than the deepest that is read."""
    level: list[Any] = [values]
    depth = 0
    while level and depth <= _DEEPEST:
        depth += 1
        children = (c for node in level for c in (node.values() if isinstance(node, Mapping) else node))
        level = [child for child in children if isinstance(child, dict | list)]
    return depth
