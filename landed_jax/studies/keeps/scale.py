"""σ and the amplification at every read site, by class of position."""

import jax.numpy as jnp

from landed_jax.analysis.scale._amplification import amplification
from landed_jax.nn.hook_points import SCALES
from landed_jax.studies._measured import Keep, Kind, Measured, View


def _measure(view: View) -> dict[str, Measured]:
    assert view.whole is not None and view.classes is not None  # everywhere=True
    found = amplification(view.whole)
    sigma, median = (jnp.moveaxis(part, 0, -1) for part in (found.sigma, found.median))
    members = view.classes.astype(sigma.dtype)
    counts = jnp.sum(members, axis=-1)  # [class, prompt]
    sums = jnp.einsum("cbp,bps->bsc", members, sigma)
    there = counts.T[:, None, :]
    return {
        "sigma": Measured(sigma, Kind(("site",), by_position=True)),
        "amplification": Measured(median, Kind(("site",), by_position=True, above=(2.0, 10.0))),
        "mean_sigma": Measured(
            sums / jnp.maximum(there, 1),
            Kind(("site", "class"), quantiles=False),
            jnp.broadcast_to(there > 0, sums.shape),
        ),
    }


KEEP = Keep(
    "scale", _measure, SCALES, everywhere=True, help="σ and the median of |γ|/σ, by read site and class of position"
)
