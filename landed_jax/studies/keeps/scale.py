"""σ and the amplification at every read site, by class of position."""

import jax.numpy as jnp

from landed_jax.analysis.scale._amplification import amplification
from landed_jax.nn.hook_points import SCALES
from landed_jax.studies._measured import Keep, Kind, Measured, View
from landed_jax.studies.keeps.stability import mean_and_squares


def _measure(view: View) -> dict[str, Measured]:
    assert view.whole is not None and view.classes is not None  # everywhere=True
    found = amplification(view.whole)
    sigma, median = (jnp.moveaxis(part, 0, -1) for part in (found.sigma, found.median))
    mean = jnp.transpose(mean_and_squares(sigma, view.classes)[0], (1, 2, 0))  # [prompt, site, class]
    there = jnp.any(view.classes, axis=-1).T[:, None]
    return {
        "sigma": Measured(sigma, Kind(("site",), by_position=True)),
        "amplification": Measured(median, Kind(("site",), by_position=True, above=(2.0, 10.0))),
        "mean_sigma": Measured(
            mean,
            Kind(("site", "class"), quantiles=False),
            jnp.broadcast_to(there, mean.shape),
        ),
    }


KEEP = Keep(
    "scale", _measure, SCALES, everywhere=True, help="σ and the median of |γ|/σ, by read site and class of position"
)
