"""Prompts as they are written in a line: text, token ids, or JSON with a prompt and its tokens."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from landed_jax.errors import LandedError, cut, shown

_FIELDS = ("prompt", "target", "against")


@dataclass(frozen=True)
class Asked:
    """A prompt and its tokens, as they were written.

    Attributes:
        prompt: text, or the ids that ``--ids`` reads.
        place: the file and the number of the line, ``prompts.txt, line 3``; "" for a single prompt.
    """

    prompt: str | list[int]
    target: str | None = None
    against: str | None = None
    place: str = ""

    @contextlib.contextmanager
    def errors_say_where(self) -> Iterator[None]:
        """Errors of the block begin with the place."""
        with errors_at(self.place):
            yield


@contextlib.contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Errors of the block begin with the place, where there is one."""
    try:
        yield
    except LandedError as error:
        raise (LandedError(f"{place}: {error}") if place else error) from error.__cause__


def is_json(line: str) -> bool:
    """Whether a line begins as an object, or is a JSON string."""
    line = line.strip()
    if line.startswith("{"):
        return True
    try:
        return isinstance(json.loads(line), str)
    except (ValueError, RecursionError):
        return False


def json_line(line: str, ids: bool) -> Asked:
    """The prompt of a line of JSON: a string, or an object with ``prompt`` and optionally ``target`` and ``against``.

    Args:
        ids: whether the prompt is token ids: a list, or their text.

    Raises:
        LandedError: for what is no such line.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LandedError(f"this is no JSON: {cut(str(error), 100)}.") from None
    fields: dict[str, Any] = value if isinstance(value, dict) else {"prompt": value}
    if surplus := [name for name in fields if name not in _FIELDS]:
        raise LandedError(f"the field {shown(surplus[0])} is none of {', '.join(_FIELDS)}.")
    if fields.get("prompt") is None:
        raise LandedError('an object has a field "prompt".')
    for name in ("target", "against"):
        if not isinstance(fields.get(name), str | None):
            raise LandedError(f'{name} is a token\'s text or "#ID", not {shown(fields[name])}.')
    prompt = fields["prompt"]
    if ids and not isinstance(prompt, str):
        prompt = json.dumps(prompt)
    if not isinstance(prompt, str):
        hint = " With --ids it may be a list of token ids." if isinstance(prompt, list) else ""
        raise LandedError(f"a prompt is text, not {shown(prompt)}.{hint}")
    return Asked(written_ids(prompt) if ids else prompt, fields.get("target"), fields.get("against"))


def written_ids(text: str) -> list[int]:
    """Token ids, separated by spaces or commas, or as a JSON list.

    Raises:
        LandedError: for what is no such list.

    >>> written_ids("1 5, 7"), written_ids("[1, 5]")
    ([1, 5, 7], [1, 5])
    """
    inside = re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)
    parts = re.split(r"\s*,\s*|\s+", (inside[1] if inside else text).strip())
    for part in parts:
        if not re.fullmatch(r"[0-9]{1,18}", part) and parts != [""]:
            raise LandedError(f"{shown(part)} is no token id: give whole numbers, as in 1 5 7 or [1, 5, 7].")
    return [int(part) for part in parts if part]
