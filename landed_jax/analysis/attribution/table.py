"""The largest writes, one a row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from landed_jax.analysis.writes.write import Write, describe


@dataclass(frozen=True)
class WriteRow(Write):
    """A write with its numbers: the landed contribution, and beside it what removing the write would do.

    `attended` is the column of the source token with the largest part in a head's landed contribution.
    `amplification` is the median of |γ|/σ at the write's next landing. None where it was not computed.
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

    def __repr__(self) -> str:
        lines = [f"{'write':<16} {'source':<12} {'landed':>10} {'direct effect':>14} {'σ share':>9}"]
        for row in self._rows:
            lines.append(
                f"{describe(row):<16} {attended_label(row):<12} {row.landed:>+10.4f} "
                f"{_number(row.direct_effect, '+.4f'):>14} {_number(row.sigma_share, '+.2%'):>9}"
            )
        return "\n".join(lines)


def attended_label(row: WriteRow) -> str:
    """The source token of a head's row, with its column."""
    if row.attended is None:
        return ""
    return f"{row.attended}" if row.attended_text is None else f"{row.attended_text!r}@{row.attended}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
