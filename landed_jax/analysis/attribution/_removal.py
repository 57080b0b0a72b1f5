"""The effect of a vector taken off the stream: from the vector, and from the sum of all that stays.

The one form for every sum of writes (a group, a layer's whole write), which keeps its digits at both ends.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._reader import Reader
from landed_jax.nn.functions import rms_sigma


class Removal(NamedTuple):
    """What taking a vector off the stream does to a value.

    Attributes:
        landed: the vector's landed contribution.
        effect: the value less the value without the vector, σ recomputed.
        mediated: effect − landed.
        sigma_without: σ′, of the stream without the vector.
    """

    landed: Float[Array, "batch position"]
    effect: Float[Array, "batch position"]
    mediated: Float[Array, "batch position"]
    sigma_without: Float[Array, "batch position"]


def removal(
    removed: Float[Array, "batch position d_model"], kept: Float[Array, "batch position d_model"], reader: Reader
) -> Removal:
    """What a value loses with `removed`, exactly: ``value − ⟨kept, vector⟩ / σ′``.

    A small effect is computed from the change of σ², in closed form. Where less than a quarter of σ² stays, the closed
    form and the difference stream − removed have lost their digits, and the sum of what stays has not.

    Args:
        removed, kept: parts that sum to the stream, each made from the writes themselves.

    >>> x, w = jnp.array([[[3.0, 4.0]]]), jnp.array([[[3.0, 0.0]]])
    >>> sigma = jnp.array([[12.5**0.5]])
    >>> reader = Reader(x, sigma, sigma * 0, 7 / sigma, jnp.ones((1, 1, 2)), 0.0, True)
    >>> round(float(removal(w, x - w, reader).effect[0, 0]), 6), round(7 / 12.5**0.5 - 4 / 8**0.5, 6)
    (0.565685, 0.565685)
    """
    assert reader.value is not None and reader.vector is not None
    removed, kept = reader.hears(removed), reader.hears(kept)
    landed, sigma = reader.landed(removed), reader.sigma
    if not reader.has_norm:
        return Removal(landed, landed, jnp.zeros_like(landed), sigma)
    delta = reader.change(jnp.vecdot(removed, reader.stream), jnp.sum(jnp.square(removed), axis=-1), sigma)
    closed = reader.closed(delta, landed, False)
    without, difference = (rms_sigma(left, reader.eps) for left in (kept, reader.stream - removed))
    little = difference < sigma / 2
    effect = jnp.where(little, reader.value - jnp.vecdot(kept, reader.vector) / without, landed + closed)
    mediated = jnp.where(little, effect - landed, closed)
    return Removal(landed, effect, mediated, jnp.where(little, without, difference))
