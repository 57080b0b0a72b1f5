"""Which columns of a table stand beside each other at a width, and how wide each is.

Tokens are shortened to `COMFORTABLE` cells first. Then columns are left out, in the order of their `drop`; before a
column of tokens is left out, it is shortened to `SHORT`. Then all tokens are shortened further. What still has no room
is continued in a second table below, its keys repeated. A name or a number is never shortened: at a width that cannot
hold the keys and one column, the table is wider than asked.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from landed_jax.tables.flow import flow
from landed_jax.tables.quoted import Quoted
from landed_jax.tables.screen import Screen
from landed_jax.tables.table import Cell, Table

GAP = 2
COMFORTABLE = 14
SHORT = 10
_LEAST = 7


@dataclass(frozen=True)
class Grid:
    """Columns beside each other, by their place in the table, with the cells that each takes."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]


def fit(table: Table, screen: Screen) -> tuple[list[Grid], list[int]]:
    """The grids that stand below each other, and the columns that are in none, in the table's order."""
    sizes = [_size(table, i, screen) for i in range(len(table.columns))]

    def room(columns: Iterable[int], floor: int) -> bool:
        return _total([sizes[i].at(floor) for i in columns]) <= screen.width

    keys = list(range(table.keys))
    kept = list(range(len(table.columns)))
    droppable = [i for i in kept[table.keys :] if table.columns[i].drop is not None]
    left_out: list[int] = []
    for i in sorted(droppable, key=lambda i: table.columns[i].drop or 0):
        if room(kept, SHORT if sizes[i].shrinks else COMFORTABLE):
            break
        kept.remove(i)
        left_out.append(i)
    if room(kept, _LEAST):
        parts = [kept[table.keys :]]
    else:
        parts = _parts(table, kept[table.keys :], lambda columns: room(keys + columns, _LEAST))
        for i in left_out[::-1]:
            at = next((p for p, part in enumerate(parts) if room([*keys, *part, i], COMFORTABLE)), None)
            if at is None:
                break
            parts[at] = sorted([*parts[at], i])
            left_out.remove(i)
    return [_grid(sizes, keys + part, screen.width) for part in parts], sorted(left_out)


def _parts(table: Table, columns: Sequence[int], room: Callable[[list[int]], bool]) -> list[list[int]]:
    """The columns in as few parts as have room, in their order; a group is cut only where it alone has none."""
    groups: list[list[int]] = []
    for i in columns:
        if groups and table.columns[groups[-1][0]].group == table.columns[i].group:
            groups[-1].append(i)
        else:
            groups.append([i])
    pieces = [piece for group in groups for piece in ([group] if room(group) else [[i] for i in group])]
    parts: list[list[int]] = []
    for piece in pieces:
        if parts and room([*parts[-1], *piece]):
            parts[-1] += piece
        else:
            parts.append(list(piece))
    return parts


@dataclass(frozen=True)
class _Size:
    """The cells of one column: `natural` holds it whole, `fixed` what is never shortened."""

    natural: int
    fixed: int

    @property
    def shrinks(self) -> bool:
        return self.fixed < self.natural

    def at(self, floor: int) -> int:
        """The least that it takes where tokens and wrapped text keep so many cells."""
        return min(self.natural, max(self.fixed, floor))


def _size(table: Table, i: int, screen: Screen) -> _Size:
    column = table.columns[i]
    titles = [cell_len(screen.own(line)) for line in column.title.split("\n")] if table.header else []
    natural, fixed = [*titles, 0], [*titles, 0]
    for row in table.rows:
        cell = row[i]
        if isinstance(cell, Quoted):
            natural.append(cell_len(cell.fit(None, screen)))
            fixed.append(cell.least(screen))
        else:
            shown = screen.own(cell)
            natural.append(cell_len(shown))
            fixed += map(cell_len, shown.split() if column.wrap else [shown])
    return _Size(max(natural), max(fixed))


def _grid(sizes: Sequence[_Size], columns: Sequence[int], width: int) -> Grid:
    """Each column has the largest floor that there is room for, and the first in the row get what is left."""
    floors = (floor for floor in (COMFORTABLE, SHORT) if _total([sizes[i].at(floor) for i in columns]) <= width)
    floor = next(floors, _LEAST)
    widths = [sizes[i].at(floor) for i in columns]
    left = width - _total(widths)
    for place, i in enumerate(columns):
        more = min(max(left, 0), sizes[i].natural - widths[place])
        widths[place] += more
        left -= more
    return Grid(tuple(columns), tuple(widths))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(len(widths) - 1, 0)


def lines_of(cell: Cell, width: int, wrap: bool, screen: Screen) -> list[str]:
    """A cell's text in its column."""
    if isinstance(cell, Quoted):
        return [cell.fit(width, screen)]
    return flow(cell, Screen(width, screen.encoding)) if wrap else [screen.own(cell)]
