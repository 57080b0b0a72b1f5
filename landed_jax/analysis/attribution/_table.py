"""The largest writes, one a row."""

import dataclasses
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from landed_jax.analysis.writes._write import Write, describe
from landed_jax.printable import printable

if TYPE_CHECKING:  # slow to import, and only one method needs it
    import pandas


@dataclass(frozen=True)
class WriteRow(Write):
    """A write with its numbers: the landed contribution, and beside it the direct effect, σ recomputed.

    `attended` is the column of the source token with the largest part in a head's landed contribution.
    `amplification` is the median over coordinates of |γ|/σ at the write's next landing, the first norm that reads it
    (not the norm of the question). None where it was not computed.
    """

    landed: float = 0.0
    direct_effect: float | None = None
    sigma_share: float | None = None
    amplification: float = 0.0
    attended: int | None = None
    attended_text: str | None = None


class WriteTable(Sequence[WriteRow]):
    """Rows in order of |landed|. A sequence of writes, so that it can be handed on to `land`."""

    def __init__(self, rows: Sequence[WriteRow]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> WriteRow: ...
    @overload
    def __getitem__(self, index: slice) -> "WriteTable": ...
    def __getitem__(self, index: int | slice) -> "WriteRow | WriteTable":
        return WriteTable(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[WriteRow]:
        return iter(self._rows)

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a write, with all fields of `WriteRow`; what was not computed is missing (NA)."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(WriteRow)]
        return pd.DataFrame([dataclasses.asdict(row) for row in self._rows], columns=pd.Index(names)).convert_dtypes()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in _COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(printable(cell))}</td>" for cell in _cells(row)) + "</tr>"
            for row in self._rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def __repr__(self) -> str:
        form = "{:<16} {:<12} {:>10} {:>14} {:>9}"
        return "\n".join(form.format(*map(printable, cells)) for cells in (_COLUMNS, *map(_cells, self._rows)))


_COLUMNS = ("write", "source", "landed", "direct effect", "σ share")


def _cells(row: WriteRow) -> tuple[str, ...]:
    numbers = f"{row.landed:+.4f}", _number(row.direct_effect, "+.4f"), _number(row.sigma_share, "+.2%")
    return describe(row), attended_label(row), *numbers


def attended_label(row: WriteRow) -> str:
    """The source token of a head's row, with its column."""
    if row.attended is None:
        return ""
    return f"{row.attended}" if row.attended_text is None else f"{row.attended_text!r}@{row.attended}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
