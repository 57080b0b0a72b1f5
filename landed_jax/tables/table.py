"""A table as a value: what is in it, and what may be left out where there is no room."""

from collections.abc import Sequence
from dataclasses import dataclass

from landed_jax.tables.flow import Item
from landed_jax.tables.heat_map import HeatMap
from landed_jax.tables.quoted import Quoted

Cell = str | Quoted
"""A name or a number, which is shown whole or not at all; or a token, which may be shortened."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: may have line breaks.
        left: of text, on the left; numbers stand on the right.
        drop: columns with a number here are left out where there is no room, 1 before 2; the others never.
        group: where columns that are never left out have no room beside each other, those of one group stay together.
        wrap: its words may stand on several lines.
        legend: what it is, shown below where it is shown.
    """

    title: str
    left: bool = False
    drop: int | None = None
    group: int = 0
    wrap: bool = False
    legend: str | Sequence[Item] = ""

    @property
    def name(self) -> str:
        """The title on one line."""
        return " ".join(self.title.split("\n"))


@dataclass(frozen=True)
class Table:
    """A table of one prompt, one model, one score.

    Attributes:
        keys: so many columns at the beginning say what a row is of. They are repeated where a table is continued.
        notes: below the table, each on lines of its own.
        elsewhere: where else a column is that was left out, such as ``--json``.
        header: whether the columns' titles are shown.
    """

    title: str | Sequence[Item]
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    keys: int = 1
    notes: Sequence[str | Sequence[Item]] = ()
    elsewhere: str = ""
    header: bool = True


@dataclass(frozen=True)
class Paragraph:
    """Words without a table."""

    items: str | Sequence[Item]
    style: str = ""


Block = Table | HeatMap | Paragraph
