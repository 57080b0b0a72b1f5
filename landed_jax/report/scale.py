"""σ and the amplification at every read site, as plain values."""

from typing import Any

from landed_jax.nn.stream_order import site_names
from landed_jax.report.account import Account


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
