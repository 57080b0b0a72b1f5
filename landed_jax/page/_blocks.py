"""What a section of the page is made of, as plain values: the browser's script shows them and computes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Frame:
    """Rows of numbers, column by column.

    Attributes:
        columns: of one length, by their names.
        label: a row's name, with columns in braces: ``head {layer}.{index}``.
        paths: for columns whose numbers are taken from the JSON document as they are, the Python subscripts that find
            them there, with columns in braces: ``["heads"][{layer}][{index}]``.
    """

    columns: Mapping[str, Sequence[Any]]
    label: str
    paths: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]], label: str, paths: Mapping[str, str] | None = None) -> "Frame":
        """A frame of rows that have the same fields.

        >>> Frame.of([{"layer": 0, "landed": 0.5}], "layer {layer}").columns
        {'layer': [0], 'landed': [0.5]}
        """
        names = list(rows[0]) if rows else []
        return Frame({name: [row[name] for row in rows] for name in names}, label, paths or {})


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: of the frame.
        title: above it.
        form: how its cells are shown: ``text``, ``count``, ``number``, ``percent`` or ``significant``.
        legend: what it means, where the title does not say.
    """

    key: str
    title: str
    form: str = "number"
    legend: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Facts:
    """Names and what they are: ``(name, value, form, path)``; of an ``alarming`` size they are marked.

    Attributes:
        items: of each its name, its value (text, or a number shown in `Column`'s form), and where it is in the JSON.
    """

    items: Sequence[tuple[str, Any, str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class TokenStrip:
    """A prompt's tokens, coloured by a column of a frame that has a row for each.

    Attributes:
        texts: of all tokens.
        position: the column that was read.
        target: the text of what is accounted for, shown behind the tokens; "" for none.
    """

    frame: str
    column: str
    texts: Sequence[str]
    position: int
    target: str
    caption: str
    kind: str = "tokens"


@dataclass(frozen=True)
class Drill:
    """What a mark of a chart opens: a chart of the rows of another frame that agree with it in some columns.

    Attributes:
        on: those columns.
        most: how many rows are drawn.
    """

    chart: str
    frame: str
    on: Sequence[str]
    columns: Sequence[Column]
    measures: Sequence[tuple[str, str]]
    title: str
    most: int = 40


@dataclass(frozen=True)
class Chart:
    """A chart of a frame, and its rows as a table below it.

    Attributes:
        chart: its name among the section's charts.
        title: the figure's caption.
        says: what it shows, for those who do not see it.
        columns: of the table of its numbers.
        measures: the columns that can be shown, with their titles; the first is shown at first.
        drill: what a mark opens.
    """

    chart: str
    frame: str
    title: str
    says: str
    columns: Sequence[Column]
    measures: Sequence[tuple[str, str]] = ()
    drill: Drill | None = None
    kind: str = "chart"


@dataclass(frozen=True)
class TableOf:
    """A frame as a table that can be sorted and filtered."""

    frame: str
    caption: str
    columns: Sequence[Column]
    kind: str = "table"


Block = Text | Facts | TokenStrip | Chart | TableOf


@dataclass(frozen=True)
class Built:
    """A section of one result: its frames by name, and its blocks in their order."""

    blocks: Sequence[Block]
    frames: Mapping[str, Frame] = field(default_factory=dict)
