"""Prompts of the command line: an argument, standard input, or a file with one a line."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from landed_jax.cli.hosts import of_first
from landed_jax.errors import LandedError
from landed_jax.prompt_lines import Asked, errors_at, is_json, json_line, written_ids

_MOST_BYTES = 64 << 20  # of all prompts together; larger input is not text for a model, and might not end (a device)


def single(argument: str | None, *, ids: bool) -> Asked:
    """The prompt of an argument; of standard input for ``-``, or where nothing is given and something is piped in.

    Raises:
        LandedError: where there is none, or it cannot be read.
    """
    if argument is None or argument == "-":
        text = of_first("standard input", lambda: _piped(asked=argument is not None))
        argument = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    return Asked(written_ids(argument) if ids else argument)


def _piped(*, asked: bool) -> str:
    """What standard input holds; where it was not asked for, only what is piped in."""
    if not asked and (sys.stdin is None or sys.stdin.isatty()):
        raise LandedError('Give a prompt: landed run "The Colosseum is in the city of".')
    return _text(_standard_input(), "Standard input")


def several(path: str, *, ids: bool) -> list[Asked]:
    """The prompts of a file, or of standard input for ``-``: one a line, or JSON lines. Blank lines are none.

    JSON lines are strings, or objects with ``prompt`` and optionally ``target`` and ``against``. A file holds them if
    its name ends in ``.jsonl`` or ``.ndjson``, or if its first line begins as an object or is a JSON string.

    Raises:
        LandedError: for a file that cannot be read or holds no prompt, and a faulty line by its number.
    """
    name = "Standard input" if path == "-" else path
    if path == "-":
        text = of_first("standard input", lambda: _text(_standard_input(), name))
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
    in_json = path.endswith((".jsonl", ".ndjson")) or is_json(lines[0][1])
    return list(_read(lines, name, in_json, ids))


def _read(lines: list[tuple[int, str]], name: str, in_json: bool, ids: bool) -> Iterator[Asked]:
    for number, line in lines:
        place = f"{name}, line {number}"
        with errors_at(place):
            asked = json_line(line, ids) if in_json else Asked(written_ids(line) if ids else line)
        yield dataclasses.replace(asked, place=place)


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
