"""σ and the amplification at every read site, as plain values and as a table."""

from typing import Any

from landed_jax.nn.stream_order import site_names
from landed_jax.report.account import Account
from landed_jax.tables.table import Column, Table


def scale_rows(account: Account) -> list[dict[str, Any]]:
    """σ and the amplification at every read site."""
    scale = account.attribution.scale
    return [
        {
            "site": site,
            "sigma": float(scale.sigma[i, 0, 0]),
            "amplification": {
                "min": float(scale.minimum[i, 0, 0]),
                "median": float(scale.median[i, 0, 0]),
                "max": float(scale.maximum[i, 0, 0]),
            },
        }
        for i, site in enumerate(site_names(account.config))
    ]


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
        [
            row["site"],
            f"{row['sigma']:#.4g}",
            *(f"{row['amplification'][key]:#.3g}" for key in ("min", "median", "max")),
        ]
        for row in scale_rows(account)
    ]
    return Table(f"Scale at position {account.position}, at each norm", columns, rows, elsewhere="--json")
