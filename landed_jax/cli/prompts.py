"""Prompts of the command line: an argument, standard input, or a file with one a line."""

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from landed_jax.errors import LandedError, cut, shown

_MOST_BYTES = 64 << 20  # of all prompts together; larger input is not text for a model, and might not end (a device)
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
        with _errors_at(self.place):
            yield


@contextlib.contextmanager
def _errors_at(place: str) -> Iterator[None]:
    try:
        yield
    except LandedError as error:
        raise (LandedError(f"{place}: {error}") if place else error) from error.__cause__


def single(argument: str | None, *, ids: bool) -> Asked:
    """The prompt of an argument; of standard input for ``-``, or where nothing is given and something is piped in.

    Raises:
        LandedError: where there is none, or it cannot be read.
    """
    if argument is None and (sys.stdin is None or sys.stdin.isatty()):
        raise LandedError('Give a prompt: landed run "The Colosseum is in the city of".')
    if argument is None or argument == "-":
        text = _text(_standard_input(), "Standard input")
        argument = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    return Asked(_ids(argument) if ids else argument)


def several(path: str, *, ids: bool) -> list[Asked]:
    """The prompts of a file, or of standard input for ``-``: one a line, or JSON lines. Blank lines are none.

    JSON lines are strings, or objects with ``prompt`` and optionally ``target`` and ``against``. A file holds them if
    its name ends in ``.jsonl`` or ``.ndjson``, or if its first line begins as an object or is a JSON string.

    Raises:
        LandedError: for a file that cannot be read or holds no prompt, and a faulty line by its number.
    """
    name = "Standard input" if path == "-" else path
    if path == "-":
        text = _text(_standard_input(), name)
    else:
        try:
            with Path(path).open("rb") as file:
                text = _text(file, name)
        except LandedError:
            raise
        except (OSError, ValueError) as error:  # a name with NUL in it
            raise LandedError(
                f"--prompts {path} cannot be read: {getattr(error, 'strerror', None) or error}."
            ) from None
    lines = [
        (number, line.removesuffix("\r"))
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1)
        if line.strip()
    ]
    if not lines:
        raise LandedError(f"{name} holds no prompt: write one a line.")
    in_json = path.endswith((".jsonl", ".ndjson")) or _is_json(lines[0][1])
    return list(_read(lines, name, in_json, ids))


def _read(lines: list[tuple[int, str]], name: str, in_json: bool, ids: bool) -> Iterator[Asked]:
    for number, line in lines:
        place = f"{name}, line {number}"
        with _errors_at(place):
            asked = _json_line(line, ids) if in_json else Asked(_ids(line) if ids else line)
        yield dataclasses.replace(asked, place=place)


def _is_json(line: str) -> bool:
    line = line.strip()
    if line.startswith("{"):
        return True
    try:
        return isinstance(json.loads(line), str)
    except (ValueError, RecursionError):
        return False


def _json_line(line: str, ids: bool) -> Asked:
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
    return Asked(_ids(prompt) if ids else prompt, fields.get("target"), fields.get("against"))


def _ids(text: str) -> list[int]:
    """Token ids, separated by spaces or commas, or as a JSON list.

    >>> _ids("1 5, 7"), _ids("[1, 5]")
    ([1, 5, 7], [1, 5])
    """
    inside = re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)
    parts = re.split(r"\s*,\s*|\s+", (inside[1] if inside else text).strip())
    for part in parts:
        if not re.fullmatch(r"[0-9]{1,18}", part) and parts != [""]:
            raise LandedError(f"{shown(part)} is no token id: give whole numbers, as in 1 5 7 or [1, 5, 7].")
    return [int(part) for part in parts if part]


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise LandedError("There is no standard input to read a prompt from.")
    return sys.stdin.buffer


def _text(stream: BinaryIO, name: str) -> str:
    """All of a stream as text.

    Raises:
        LandedError: for more than `_MOST_BYTES`, and what is no UTF-8, by its first 60 characters.
    """
    data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise LandedError(f"{name} holds more than {_MOST_BYTES >> 20} MiB, which is no prompt.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        begin = data[:240].decode("utf-8", errors="backslashreplace")[:60]
        line = data.count(b"\n", 0, error.start) + 1
        raise LandedError(
            f"{name} is not text in UTF-8, from byte {error.start:,} (line {line:,}) on; it begins '{begin}'."
        ) from None
