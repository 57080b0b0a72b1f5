"""One prompt's account as tables for people."""

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from landed_jax.analysis.attribution._table import WriteTable, attended_label
from landed_jax.analysis.writes._write import describe
from landed_jax.nn.per_write import PerWrite
from landed_jax.printable import printable
from landed_jax.report.account import Account
from landed_jax.report.plain_table import plain_table
from landed_jax.report.scale import scale_rows


def run_report(account: Account, top: int) -> RenderableType:
    """The answer first, then who made it, then how it was scaled."""
    parts: list[RenderableType] = [headline(account), Text()]
    if top:
        parts += [writes_table(account, top), Text()]
    return Group(*parts, groups_table(account), Text(), scale_table(account), Text(), coordinates_line(account))


def _quote(text: str) -> str:
    return escape(repr(text))


def headline(account: Account) -> RenderableType:
    """The prompt, the target, its logit, and how exactly the parts sum to it."""
    shares = account.attribution
    target, against = account.token(shares, "target"), account.token(shares, "against")
    tokens = account.tokens()
    lines = [f"[dim]{escape(printable(account.model))}[/]   {_quote(account.prompt)}"]
    if account.position != len(tokens) - 1:
        lines.append(f"read at position {account.position}, after {_quote(tokens[account.position])}")
    value, error = float(shares.value[0, 0]), float(shares.closure_error[0, 0])
    name = f"{_quote(target['text'])}" if target else "direction"
    what = "logit" if against is None else f"logit difference to {_quote(against['text'])}"
    lines.append(f"[bold]{name}  {what} {value:.4f}[/]   the writes sum to it within {error:.1e}")
    if account.difference is not None:
        other = account.token(account.difference, "against")
        gap, gap_error = float(account.difference.value[0, 0]), float(account.difference.closure_error[0, 0])
        if other:
            side = "ahead of" if gap >= 0 else "behind"
            lines.append(f"{side} {_quote(other['text'])} by [bold]{abs(gap):.4f}[/]   within {gap_error:.1e}")
    return Text.from_markup("\n".join(lines), emoji=False)


def _same_writes(rows: WriteTable, numbers: PerWrite) -> list[float]:
    """The numbers of these rows' writes in another attribution."""
    kinds = {"head": numbers.heads, "neuron": numbers.neurons}
    return [
        float(numbers.embedding[0, 0] if row.kind == "embedding" else kinds[row.kind][row.layer, 0, 0, row.index])
        for row in rows
    ]


def writes_table(account: Account, top: int) -> Table:
    """The largest writes: landed contribution and direct effect side by side, for the logit and for the difference."""
    rows = account.attribution.top(top)
    difference = account.difference
    table = plain_table("Largest landed contributions")
    first = "logit" if account.attribution.against is None else "diff."
    columns = ["write", "from token", f"{first}\nlanded\n", f"{first}\ndirect\neffect"]
    if difference is not None:
        other = account.token(difference, "against")
        over = f"vs {_quote(other['text'])}" if other else "difference"
        columns += [f"{over}\nlanded\n", f"{over}\ndirect\neffect"]
    columns += ["σ share", "|γ|/σ"]
    for i, column in enumerate(columns):
        # Where it gets narrow the source token folds, and no number ever does.
        fold = column == "from token"
        table.add_column(column, justify="left" if i < 2 else "right", no_wrap=not fold, overflow="fold")
    beside = []
    if difference is not None and difference.direct_effect is not None:
        parts = (_same_writes(rows, numbers) for numbers in (difference.landed, difference.direct_effect))
        beside = list(zip(*parts, strict=True))
    for i, row in enumerate(rows):
        cells = [describe(row), escape(attended_label(row)), f"{row.landed:+.4f}", _signed(row.direct_effect)]
        if beside:
            cells += [f"{beside[i][0]:+.4f}", f"{beside[i][1]:+.4f}"]
        share = "" if row.sigma_share is None else f"{row.sigma_share:+.2%}"
        table.add_row(*cells, share, f"{row.amplification:.3g}×")
    table.caption = (
        "landed: σ held fixed; all writes sum to the value\n"
        "direct effect: what the final norm loses without the write: σ recomputed,\n"
        "later layers as they ran (an ablation can do anything beside it)\n"
        "from token: the source with the largest part\n"
        "σ share: the write's part of σ²\n"
        "|γ|/σ: the median over coordinates at the first norm that reads the write"
    )
    return table


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def groups_table(account: Account) -> Table:
    """Embedding and each layer's attention and MLP writes, biases included: a short list that sums to the value."""
    landed, effect = account.attribution.landed, account.attribution.direct_effect
    attention = np.sum(landed.heads[:, 0, 0], axis=-1) + landed.attn_bias[:, 0, 0]
    mlp = np.sum(landed.neurons[:, 0, 0], axis=-1) + landed.mlp_bias[:, 0, 0]
    table = plain_table("By layer, biases included")
    for column in ("layer", "attention\nlanded", "attention\ndirect effect", "MLP\nlanded", "MLP\ndirect effect"):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    first = ["embedding", f"{float(landed.embedding[0, 0]):+.4f}"]
    table.add_row(*first, _signed(None if effect is None else float(effect.embedding[0, 0])))
    for layer, (attention_effect, mlp_effect) in enumerate(account.layer_effects):
        numbers = (attention[layer], attention_effect, mlp[layer], mlp_effect)
        table.add_row(str(layer), *(f"{v:+.4f}" for v in numbers))
    total = float(account.attribution.total[0, 0])
    table.caption = (
        f"The landed columns sum to {total:+.4f}; "
        "direct effects are of each part removed alone, later layers as they ran."
    )
    return table


def scale_table(account: Account) -> Table:
    """σ and the amplification at every read site."""
    table = plain_table(f"Scale at position {account.position}")
    for name in ("read site", "σ", "|γ|/σ min", "median", "max"):
        table.add_column(name, justify="left" if name == "read site" else "right")
    for row in scale_rows(account):
        amplification = row["amplification"]
        cells = (f"{amplification[key]:.3g}" for key in ("min", "median", "max"))
        table.add_row(row["site"], f"{row['sigma']:.4g}", *cells)
    return table


def coordinates_line(account: Account) -> Text:
    """How many coordinates reach parts of the value."""
    d_model = account.config.d_model
    counts = list(account.coordinate_counts.values())
    return Text(
        "Coordinates, by size, that reach 50 / 90 / 99 % of the value: "
        f"{counts[0]} / {counts[1]} / {counts[2]} of {d_model}"
    )
