"""Order statistics of samples, each class by itself, with the number of samples beside them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.results.axes import PERCENTILES
from landed_jax.results.result import Result, result


@result
class Spread(Result):
    """How samples of an amplification are spread.

    The leading axes say what the samples are of (a read site, a class of positions, …). Where there is no sample the
    count is 0 and everything else NaN.

    Attributes:
        quantiles: those of `PERCENTILES`, linearly interpolated between samples, as NumPy's.
        above_2, above_10: the part of the samples strictly above 2, and above 10.
        count: the number of samples.
    """

    minimum: Float[Array, "*axes"]
    quantiles: Float[Array, "*axes quantile"]
    maximum: Float[Array, "*axes"]
    above_2: Float[Array, "*axes"]
    above_10: Float[Array, "*axes"]
    count: Int[Array, "*axes"]

    @property
    def median(self) -> Float[Array, "*axes"]:
        return self.quantiles[..., PERCENTILES.index(50)]


def spread(samples: Float[Array, "*sample"], chosen: Bool[Array, "class *sample"]) -> Spread:
    """The spread of each class's samples: a `Spread` with the axis ``class``.

    Args:
        samples: any number of axes.
        chosen: which samples belong to which class.

    >>> found = spread(jnp.array([1.0, 30.0, 3.0, 9.0]), jnp.array([[True, False, True, True], [False] * 4]))
    >>> found.median, found.above_2, found.count
    (Array([ 3., nan], dtype=float32), Array([0.6666667,       nan], dtype=float32), Array([3, 0], dtype=int32))
    """
    return jax.vmap(_spread, in_axes=(None, 0))(samples.reshape(-1), chosen.reshape(chosen.shape[0], -1))


def _spread(samples: Float[Array, " n"], chosen: Bool[Array, " n"]) -> Spread:
    count = jnp.sum(chosen, dtype=jnp.int32)
    ordered = jnp.sort(jnp.where(chosen, samples, jnp.inf))  # those not chosen stand behind all others
    last = jnp.maximum(count - 1, 0)
    # percent · last / 100 in whole numbers, which float32 would round for millions of samples.
    percent = jnp.array(PERCENTILES, jnp.int32)
    hundreds, rest = last // 100, last % 100
    below = percent * hundreds + percent * rest // 100
    part = (percent * rest % 100).astype(samples.dtype) / 100
    low, high = ordered[below], ordered[jnp.minimum(below + 1, last)]
    quantiles = jnp.where(part > 0, low + (high - low) * part, low)
    above = [jnp.sum(chosen & (samples > bound), dtype=jnp.int32) for bound in (2, 10)]
    shares = jnp.stack(above).astype(samples.dtype) / jnp.maximum(count, 1).astype(samples.dtype)

    def or_nan(statistic: jax.Array) -> jax.Array:
        return jnp.where(count > 0, statistic, jnp.nan)

    shares = or_nan(shares)
    return Spread(or_nan(ordered[0]), or_nan(quantiles), or_nan(ordered[last]), shares[0], shares[1], count)
