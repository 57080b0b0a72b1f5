"""The sizes that a tokenizer.json states, held against the file before the tokenizer's reader allocates them."""

import base64
import binascii
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError

LARGEST_TOKENIZER_FILE = 64 << 20
"""Bytes of one of a tokenizer's files; twice the largest of any published model."""

_MOST_NODES = 4_000_000  # lists and objects: seven times those of the largest; parsed, each takes 60 bytes and more


def check_sizes(path: Path) -> None:
    """Refuse a tokenizer.json that would exhaust the memory as it is read: Rust code ends the process where it does.

    Raises:
        LandedError: if it has too many lists and objects, or a character map (of SentencePiece's normalisation) that
            is shorter than it says.
    """
    data = path.read_bytes()
    if data.count(b"[") + data.count(b"{") > _MOST_NODES:
        raise LandedError(f"{path} has more than {_MOST_NODES:,} lists and objects, which no tokenizer has.")
    if b"recompiled" not in data and rb"\u00" not in data:  # nor an escape in which the word could stand
        return
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return  # the tokenizer's own reader says where
    for node in _objects(values.get("normalizer") if isinstance(values, dict) else None):
        if not _is_whole(node.get("precompiled_charsmap")):
            raise LandedError(f"{path} is damaged: its character map (precompiled_charsmap) is shorter than it says.")


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
