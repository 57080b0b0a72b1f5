"""A task of the user's own: prompts in a file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError, cut, shown
from landed_jax.tasks._prompt import Answers, Prompt

_NEEDED = ("clean", "corrupted", "right", "wrong")
_FIELDS = frozenset((*_NEEDED, "condition"))


@dataclass(frozen=True)
class ListedTask:
    """Prompts in the order in which they were written; it is used like a `Task`."""

    name: str
    conditions: tuple[str, ...]
    listed: tuple[Prompt, ...]

    def prompts(self, count: int, *, seed: int = 0, condition: str | None = None) -> list[Prompt]:
        """The first `count` of them, whatever the seed."""
        return [prompt for prompt in self.listed if condition in (None, prompt.condition)][:count]


def read_task(path: str | os.PathLike[str]) -> ListedTask:
    """The prompts of a file with a JSON object in each line.

    An object has ``clean`` and ``corrupted``, the two prompts, which have to be of as many tokens, and ``right`` and
    ``wrong``, the tokens that may follow the clean one: a text with its leading space, or a list of such. ``condition``
    names the kind of prompt. Blank lines are none.

    Raises:
        LandedError: for a file that cannot be read or holds no prompt, and a faulty line by its number.

    >>> import tempfile
    >>> line = '{"clean": "Two plus two is", "corrupted": "Two plus one is", "right": " four", "wrong": " three"}'
    >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
    ...     _ = file.write(line)
    ...     file.flush()
    ...     read_task(file.name).prompts(1)[0].answers
    (Answers(right=(' four',), wrong=(' three',)),)
    """
    source = Path(path)
    try:
        lines = source.read_text("utf-8").split("\n")
    except (OSError, ValueError) as error:  # no text in UTF-8, or a name with NUL in it
        raise LandedError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    prompts = [_prompt(line, f"{source}, line {number}", source.stem) for number, line in numbered]
    if not prompts:
        raise LandedError(f"{source} holds no prompt: write a JSON object in each line, with {', '.join(_NEEDED)}.")
    return ListedTask(source.stem, tuple(dict.fromkeys(prompt.condition for prompt in prompts)), tuple(prompts))


def _prompt(line: str, place: str, name: str) -> Prompt:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LandedError(f"{place}: this is no JSON: {cut(str(error), 100)}.") from None
    if not isinstance(fields, Mapping):
        raise LandedError(f"{place}: a prompt is a JSON object with {', '.join(_NEEDED)}, not {shown(fields)}.")
    if missing := [field for field in _NEEDED if field not in fields]:
        raise LandedError(f"{place}: the field {missing[0]} is missing: a prompt has {', '.join(_NEEDED)}.")
    if surplus := sorted(set(fields) - _FIELDS):
        raise LandedError(f"{place}: the field {shown(surplus[0])} is none of {', '.join(sorted(_FIELDS))}.")
    for field in ("clean", "corrupted", "condition"):
        if not isinstance(fields.get(field, ""), str):
            raise LandedError(f"{place}: {field} is text, not {shown(fields[field])}.")
    right, wrong = (_texts(fields[side], side, place) for side in ("right", "wrong"))
    return Prompt(fields.get("condition", name), fields["clean"], fields["corrupted"], (Answers(right, wrong),))


def _texts(value: Any, side: str, place: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise LandedError(f"{place}: {side} is a token's text or a list of such, not {shown(value)}.")
    return tuple(texts)
