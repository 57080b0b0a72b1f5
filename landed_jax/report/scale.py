"""σ and the amplification at every read site, as plain values and as a table."""

from typing import Any

from landed_jax.nn.stream_order import site_names
from landed_jax.report.account import Account
from landed_jax.tables.table import Column, Table

RAW = "raw"  # the word for a block that reads the stream itself: there is no σ, and no amplification


def scale_rows(account: Account) -> list[dict[str, Any]]:
    """σ and the amplification at every read site; None where a block reads the stream itself."""
    return [_row(account, i, site) for i, site in enumerate(site_names(account.config))]


def _row(account: Account, i: int, site: str) -> dict[str, Any]:
    scale = account.attribution.scale
    if not account.config.has_norm(site):
        return {"site": site, "sigma": None, "amplification": None}
    spread = {"min": scale.minimum, "median": scale.median, "max": scale.maximum}
    return {
        "site": site,
        "sigma": float(scale.sigma[i, 0, 0]),
        "amplification": {name: float(values[i, 0, 0]) for name, values in spread.items()},
    }


def scale_table(account: Account) -> Table:
    """σ, and the smallest, median and largest |γ|/σ of the coordinates."""
    columns = [
        Column("read\nsite", left=True),
        Column("σ"),
        Column("|γ|/σ\nmin", drop=1),
        Column("|γ|/σ\nmedian"),
        Column("|γ|/σ\nmax", drop=2),
    ]
    rows = [
        [row["site"], RAW, "", "", ""]
        if row["sigma"] is None
        else [row["site"], f"{row['sigma']:#.4g}", *(f"{number:#.3g}" for number in row["amplification"].values())]
        for row in scale_rows(account)
    ]
    return Table(f"Scale at position {account.position}, at each norm", columns, rows, elsewhere="--json")
