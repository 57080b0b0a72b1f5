"""The largest writes: landed contribution and direct effect side by side."""

from landed_jax.analysis.attribution._result import Attribution
from landed_jax.analysis.attribution._table import (
    DIRECT_EFFECT,
    FROM_TOKEN,
    LANDED,
    SIGMA_SHARE,
    WriteRow,
    WriteTable,
    name_legend,
    signed,
    source_cell,
)
from landed_jax.analysis.writes._write import EMBEDDING_FIELDS, describe, neuron_index, next_site
from landed_jax.nn.per_write import PerWrite
from landed_jax.report.account import Account
from landed_jax.report.scale import RAW
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Quoted
from landed_jax.tables.table import Cell, Column, Table

CAPPED = "direct, capped: on the model's own logit, after its soft-cap"
AMPLIFICATION = "|γ|/σ: the median over coordinates, at the norm that reads the write first (its next landing)"


def in_difference(rows: WriteTable, difference: Attribution | None) -> list[tuple[float, float]]:
    """The landed contribution and the direct effect of these rows' writes in another attribution."""
    if difference is None or difference.direct_effect is None:
        return []
    parts = difference.landed, difference.direct_effect
    return list(zip(*(of_writes(rows, part, difference) for part in parts), strict=True))


def of_writes(rows: WriteTable, numbers: PerWrite, shares: Attribution) -> list[float]:
    """One number of each row's write; the shares are of the same position, and know its experts."""

    def one(row: WriteRow) -> float:
        if row.layer is None:
            return float(numbers.embeddings[EMBEDDING_FIELDS[row.kind]][0, 0])
        if row.kind == "head":
            return float(numbers.heads[row.layer, 0, 0, row.index])
        ids = None if shares.experts is None else shares.experts[row.layer, 0, 0]
        return float(numbers.neurons[row.layer, 0, 0, neuron_index(row, ids, shares.config)])

    return [one(row) for row in rows]


def writes_table(account: Account, top: int) -> Table:
    """The largest writes for the value, and the same writes for the difference to the likeliest other token."""
    rows = account.attribution.top(top)
    beside = in_difference(rows, account.difference)
    first = "logit" if account.attribution.against is None else "diff."
    columns = [
        Column("write", left=True, legend=name_legend(rows)),
        Column("from token", left=True, drop=3, legend=FROM_TOKEN),
        Column(f"{first}\nlanded", group=1, legend=LANDED),
        Column(f"{first}\ndirect", group=1, legend=DIRECT_EFFECT),
    ]
    capped = None if account.capped is None else of_writes(rows, account.capped.effect, account.attribution)
    if capped is not None:
        columns.append(Column("direct,\ncapped", group=1, legend=CAPPED))
    if beside:
        legend = _difference(account)
        columns += [Column(f"diff.\n{name}", group=2, legend=legend) for name in ("landed", "direct")]
    columns += [
        Column("σ share", drop=2, legend=SIGMA_SHARE),
        Column("|γ|/σ", drop=1, legend=AMPLIFICATION),
    ]
    cells: list[list[Cell]] = []
    for i, row in enumerate(rows):
        numbers = [f"{row.landed:+.4f}", signed(row.direct_effect)]
        numbers += [] if capped is None else [f"{capped[i]:+.4f}"]
        numbers += [f"{number:+.4f}" for number in (beside[i] if beside else ())]
        normed = account.config.has_norm(next_site(row, account.config))
        numbers += [signed(row.sigma_share, "+.2%"), f"{row.amplification:#.3g}" if normed else RAW]
        cells.append([describe(row), source_cell(row), *numbers])
    if all(row.attended is None for row in rows):  # no head is among them
        columns, cells = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in cells]
    return Table("Largest landed contributions", columns, cells, elsewhere="--json")


def _difference(account: Account) -> tuple[Item, ...]:
    other = account.difference and account.token(account.difference, "against")
    if not other:
        return ()
    return "diff.: of the logit difference to", Quoted(other["text"], after=","), "the likeliest other token"
