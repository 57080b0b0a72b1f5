"""A JSON document as text that acts on no terminal and loses no character."""

import json
from collections.abc import Mapping
from typing import Any

from landed_jax.errors import LandedError


def json_text(document: Mapping[str, Any], encoding: str = "utf-8", *, indent: int | None = 2) -> str:
    r"""JSON, and a line break. What does not print, and what the encoding lacks, is written as JSON's own escape.

    Raises:
        LandedError: for a number that is not finite.

    >>> print(json_text({"token": "σ\u202e\0"}, "ascii", indent=None), end="")
    {"token": "\u03c3\u202e\u0000"}
    """
    try:
        text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise LandedError("The model's values are not all finite, so they cannot be written as JSON.") from error
    # JSON itself escapes only C0 controls. Other controls and bidirectional overrides would act on a terminal.
    return "".join(c if c == "\n" or (c.isprintable() and _holds(encoding, c)) else json.dumps(c)[1:-1] for c in text)


def _holds(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
