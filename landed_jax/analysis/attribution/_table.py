"""The largest writes, one a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landed_jax.analysis.writes._write import Write, describe
from landed_jax.tables.rows import Rows

if TYPE_CHECKING:  # slow to import, and only what shows a table needs them
    from landed_jax.tables.table import Block, Cell


@dataclass(frozen=True)
class WriteRow(Write):
    """A write with its numbers: the landed contribution, and beside it the direct effect, σ recomputed.

    `attended` is the column of the source token with the largest part in a head's landed contribution, and
    `attended_landed` that part, which may have the other sign.
    `amplification` is the median over coordinates of |γ|/σ at the write's next landing, the first norm that reads it
    (not the norm of the question). None where it was not computed.
    """

    landed: float = 0.0
    direct_effect: float | None = None
    sigma_share: float | None = None
    amplification: float = 0.0
    attended: int | None = None
    attended_text: str | None = None
    attended_landed: float | None = None


class WriteTable(Rows[WriteRow]):
    """Rows in order of |landed|. A sequence of writes, so that it can be handed on to `land`."""

    _row = WriteRow

    def blocks(self) -> "list[Block]":
        """The table and its legend, as a terminal or a notebook shows them."""
        from landed_jax.tables.table import Column, Table

        columns = (
            Column("write", left=True, legend=name_legend(self)),
            Column("from token", left=True, drop=2, legend=FROM_TOKEN),
            Column("landed", legend=LANDED),
            Column("direct\neffect", legend=DIRECT_EFFECT),
            Column("σ share", drop=1, legend=SIGMA_SHARE),
        )
        rows = [
            (
                describe(row),
                source_cell(row),
                f"{row.landed:+.4f}",
                signed(row.direct_effect),
                signed(row.sigma_share, "+.2%"),
            )
            for row in self._rows
        ]
        return [Table("Largest landed contributions", columns, rows, elsewhere="to_pandas()")]


NAME_OF_EXPERTS = "write: 3.5.17 would be neuron 17 of expert 5 in layer 3"
LANDED = "landed: with σ held fixed; the sum over all writes is the value"
DIRECT_EFFECT = (
    "direct effect: what the value loses without the write on its direct path to the norm that is read (for a logit "
    "the final norm), σ recomputed and later layers as they ran; not the total effect, for which they would run again"
)
FROM_TOKEN = (
    "from token: the source token with the largest part in the head's contribution; with a sign where that part's sign "
    "is not the head's"
)
SIGMA_SHARE = "σ share: the write's part of σ² at the norm that is read"


def name_legend(rows: Sequence[Write]) -> str:
    """How the writes are named, where it is not evident."""
    return NAME_OF_EXPERTS if any(row.expert is not None for row in rows) else ""


def source_cell(row: WriteRow) -> "Cell":
    """The source token of a head's row with its column, and the sign of its part where it is not the head's own."""
    from landed_jax.tables.quoted import Quoted

    if row.attended is None:
        return ""
    opposite = row.attended_landed is not None and row.attended_landed * row.landed < 0
    sign = ("+" if (row.attended_landed or 0.0) > 0 else "-") if opposite else ""
    if row.attended_text is None:
        return f"{sign}@{row.attended}"
    return Quoted(row.attended_text, before=sign, after=f"@{row.attended}")


def signed(value: float | None, form: str = "+.4f") -> str:
    """A number with its sign; nothing for one that was not computed.

    >>> signed(0.5), signed(None)
    ('+0.5000', '')
    """
    return "" if value is None else format(value, form)
