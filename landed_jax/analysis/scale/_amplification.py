"""|γ|/σ: how much each read site magnifies each coordinate."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.registry import analysis
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class Amplification(Result):
    """|γ_k|/σ at every read site, kept as its two factors, with its order statistics over coordinates.

    Attributes:
        sigma, gamma: the factors.
        minimum, median, maximum: of |γ_k|/σ over the coordinates k.
    """

    sigma: Float[Array, "site batch position"]
    gamma: Float[Array, "site d_model"]
    minimum: Float[Array, "site batch position"]
    median: Float[Array, "site batch position"]
    maximum: Float[Array, "site batch position"]

    def by_coordinate(self, site: int) -> Float[Array, "batch position d_model"]:
        """|γ_k|/σ of every coordinate at one read site (its place in `site_names`)."""
        return jnp.abs(self.gamma[site])[None, None] / self.sigma[site][..., None]


@analysis()
def amplification(trace: Trace) -> Amplification:
    """The amplification at every read site and recorded position.

    σ divides all coordinates alike, so the order statistics are those of |γ|, divided by σ. In units of one over the
    stream's; coordinate by coordinate, whatever is written there (`write_amplification` weighs by what is).

    Raises:
        LandedError: for a trace without σ and γ.

    References:
        Zhang & Sennrich, Root Mean Square Layer Normalization, 2019 (the norm whose γ/σ this is).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> _, trace = forward(init_params(config, jax.random.key(0)), jnp.array([[1, 5, 7]]), config)
    >>> amplification(trace).median.shape
    (5, 1, 3)
    """
    sigma, gamma = trace.sigma, trace.gamma
    size = jnp.abs(gamma)

    def over_sigma(statistic: jax.Array) -> jax.Array:
        return statistic[:, None, None] / sigma

    return Amplification(
        sigma,
        gamma,
        over_sigma(jnp.min(size, axis=-1)),
        over_sigma(jnp.median(size, axis=-1)),
        over_sigma(jnp.max(size, axis=-1)),
    )
