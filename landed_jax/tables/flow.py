"""Words, tokens and names in lines of a given width."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.screen import Screen

Item = str | Quoted | Name | Passage
"""Words of the package's own, which may be broken at spaces; a token or a name, whole or with an ellipsis; a prompt."""


class Line(NamedTuple):
    """One line of what is printed, with a style of Rich's."""

    text: str
    style: str = ""


def flow(items: str | Sequence[Item], screen: Screen, indent: str = "") -> list[str]:
    """The items, a space between each two, in lines that are as full as they can be; all but the first are indented.

    >>> flow(["logit of", Quoted(" Constantinople"), "within 1e-6"], Screen(16))
    ['logit of', "' Constantinop'…", 'within 1e-6']
    """
    inner = dataclasses.replace(screen, width=screen.width - len(indent))
    lines: list[str] = []
    for item in [items] if isinstance(items, str) else items:
        for number, part in enumerate(_parts(item, inner)):
            glue = "" if not lines or (number and isinstance(item, Passage)) else " "
            room = (screen if len(lines) == 1 else inner).width
            if lines and cell_len(lines[-1] + glue + part) <= room:
                lines[-1] += glue + part
            else:
                lines.append(part)
    return [line if i == 0 else indent + line for i, line in enumerate(lines)]


def _parts(item: Item, screen: Screen) -> list[str]:
    """What is never broken, in its order."""
    if isinstance(item, Passage):
        return list(item.parts(screen))
    return screen.own(item).split(" ") if isinstance(item, str) else [item.fit(screen.width, screen)]
