"""A heat map as a value, and as lines of characters that are readable without colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from landed_jax.tables.flow import Item, Line, flow
from landed_jax.tables.quoted import Quoted, units
from landed_jax.tables.screen import Screen

QUIET = 0.05
"""Below this part of the darkest a cell is not shaded."""
_STEPS = (QUIET, 0.25, 0.5, 0.75)
_POSITIVE, _NEGATIVE = "░▒▓█", "-=≡#"
_NOTHING, _UNKNOWN = ".", "?"
_BLOCK = 3  # cells of shade beside a number, at most
_WIDEST = 10  # cells of one column
_TALLEST = 6  # lines of a heading
_MERGED = 3  # so many rows without a shade become one


@dataclass(frozen=True)
class HeatMap:
    """Numbers along two axes.

    Attributes:
        corner: what the rows are, such as ``layer``.
        rows: their names.
        columns: of each its name, and a token's text below it, or "".
        values: one row a row; not finite where there is no number.
        darkest: the absolute value of the darkest shade.
        unit: what the numbers in the cells count.
        notes: below the map.
    """

    title: str | Sequence[Item]
    corner: str
    rows: Sequence[str]
    columns: Sequence[tuple[str, str]]
    values: Sequence[Sequence[float]]
    darkest: float
    unit: float
    notes: Sequence[str | Sequence[Item]] = ()


def shade_of(value: float, darkest: float) -> str:
    """One character: darker for larger, of another kind for negative numbers.

    >>> [shade_of(value, 2.0) for value in (0.01, 0.2, 0.6, 1.2, 2.0, -0.6, float("nan"))]
    ['.', '░', '▒', '▓', '█', '=', '?']
    """
    if not math.isfinite(value):
        return _UNKNOWN
    part = abs(value) / darkest if darkest > 0 else 0.0
    level = sum(part >= step for step in _STEPS)
    return _NOTHING if not level else (_POSITIVE if value > 0 else _NEGATIVE)[level - 1]


def legend() -> str:
    """What the shades mean."""
    steps = ", ".join(f"{100 * step:.0f}" for step in _STEPS) + "%"
    positive, negative = "".join(_POSITIVE), "".join(_NEGATIVE)
    return f"{positive} from {steps} of the largest number here; {negative} negative; {_NOTHING} below"


def map_lines(drawn: HeatMap, screen: Screen) -> list[Line]:
    """The map's lines: continued below, with the rows' names again, where its columns have no room."""
    rows = _merged(drawn)
    names = [screen.own(name) for name, _ in rows]
    margin = max(map(cell_len, [*names, screen.own(drawn.corner)])) + 1
    room = max(screen.width - margin, 1)
    numbers = [[_number(value, drawn) for value in values] for _, values in rows]
    longest = max((len(number) for row in numbers for number in row), default=0)
    count = len(drawn.columns)
    width = min(room // count, _WIDEST) if count <= room else 1
    with_numbers = width >= longest + 2
    lines = [Line(text, "bold") for text in flow(drawn.title, screen)]
    for first in range(0, count, room // width):
        part = slice(first, first + room // width)
        if first:
            lines.append(Line(""))
        lines += _heading(drawn, drawn.columns[part], width, margin, screen)
        for name, (_, values), shown in zip(names, rows, numbers, strict=True):
            pairs = zip(values[part], shown[part], strict=True)
            cells = [_cell(value, number, longest * with_numbers, width, drawn.darkest) for value, number in pairs]
            lines.append(Line((name.ljust(margin) + screen.own("".join(cells))).rstrip()))
    notes = list(drawn.notes)
    cut = [Quoted(text, f"{name} ") for name, text in drawn.columns if _broken(_plain(text), width, screen)[1]]
    if cut:
        notes.append(["Shortened above:", *cut])
    if not with_numbers and longest:
        notes.append("Numbers have no room at this width.")
    for note in notes:
        lines += [Line(text, "dim") for text in flow(note, screen, indent="  ")]
    return lines


def _merged(drawn: HeatMap) -> list[tuple[str, Sequence[float]]]:
    """The rows, of which several in turn that have no shade are one."""
    found: list[tuple[str, Sequence[float]]] = []
    quiet: list[tuple[str, Sequence[float]]] = []

    def end() -> None:
        if len(quiet) < _MERGED:
            found.extend(quiet)
        else:
            found.append((f"{quiet[0][0]}–{quiet[-1][0]}", [0.0] * len(drawn.columns)))
        quiet.clear()

    for row in zip(drawn.rows, drawn.values, strict=True):
        if all(shade_of(value, drawn.darkest) == _NOTHING for value in row[1]):
            quiet.append(row)
        else:
            end()
            found.append(row)
    end()
    return found


def _number(value: float, drawn: HeatMap) -> str:
    return f"{round(value / drawn.unit)}" if math.isfinite(value) and round(value / drawn.unit) else ""


def _cell(value: float, number: str, longest: int, width: int, darkest: float) -> str:
    """The shade, with the number behind it where numbers have room: `longest` characters."""
    shade = shade_of(value, darkest)
    room = max(width - 1 - longest, 1)
    block = (shade * min(room, _BLOCK)) if shade not in (_NOTHING, _UNKNOWN) else ""
    shown = f"{block}{number:>{longest}}" if longest and number else block + " " * longest if block else shade
    return shown.rjust(width - 1) + " " if width > 1 else shown


def _heading(drawn: HeatMap, columns: Sequence[tuple[str, str]], width: int, margin: int, screen: Screen) -> list[Line]:
    """The columns' names, and below them their tokens, broken over lines."""
    lines: list[Line] = []
    for texts in ([name for name, _ in columns], [_plain(text) for _, text in columns]):
        cells = [_broken(text, width, screen)[0] for text in texts]
        for line in range(max(map(len, cells))):
            parts = [cell[line] if line < len(cell) else "" for cell in cells]
            room = max(width - 1, 1)
            spaced = "".join(" " * (room - cell_len(part)) + part + " " * (width - room) for part in parts)
            corner = "" if lines else screen.own(drawn.corner)
            lines.append(Line((corner.ljust(margin) + spaced).rstrip(), "bold"))
    return lines


def _plain(text: str) -> str:
    """A token without the space that it begins with; of spaces alone a sign for each."""
    return text.removeprefix(" ") if text.strip(" ") else "␣" * len(text)


def _broken(text: str, width: int, screen: Screen) -> tuple[list[str], bool]:
    """A text in lines of a column's width, and whether it is shortened."""
    room, cut = max(width - 1, 1), False
    lines: list[str] = []
    for part in units(screen.own(text) if not text.strip("␣") else text, screen, ""):
        if not lines or cell_len(lines[-1] + part) > room:
            if len(lines) == _TALLEST or cell_len(part) > room:
                cut = True
                break
            lines.append("")
        lines[-1] += part
    if not cut:
        return lines, False
    mark = screen.ellipsis if len(screen.ellipsis) <= room else screen.ellipsis[:1]
    last = lines.pop() if lines else ""
    while cell_len(last + mark) > room:
        last = last[:-1]
    return [*lines, last + mark], True
