"""The effect of a vector taken off the stream: from the vector, and from the sum of all that stays.

The one form for every sum of writes (a group, a layer's whole write), which keeps its digits at both ends.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._effects import mediated_effect
from landed_jax.nn.functions import rms_sigma


class Removal(NamedTuple):
    """What taking a vector off the stream does to a value.

    Attributes:
        landed: the vector's landed contribution.
        rest: that of all that stays.
        effect: the value less the value without the vector, σ recomputed.
        mediated: effect − landed.
        sigma_without: σ′, of the stream without the vector.
    """

    landed: Float[Array, "batch position"]
    rest: Float[Array, "batch position"]
    effect: Float[Array, "batch position"]
    mediated: Float[Array, "batch position"]
    sigma_without: Float[Array, "batch position"]


def removal(
    removed: Float[Array, "batch position d_model"],
    kept: Float[Array, "batch position d_model"],
    stream: Float[Array, "batch position d_model"],
    vector: Float[Array, "_ _ d_model"],
    value: Float[Array, "batch position"],
    sigma: Float[Array, "batch position"],
    eps: float,
) -> Removal:
    """What a value loses with `removed`, exactly: ``value − ⟨kept, vector⟩ / σ′``.

    A small effect is computed from the change of σ², in closed form. Where less than a quarter of σ² stays, the closed
    form and the difference stream − removed have lost their digits, and the sum of what stays has not.

    Args:
        removed, kept: parts that sum to the stream, each made from the writes themselves.
        vector: what reads the stream, γ folded in.
        value: ``⟨stream, vector⟩ / σ``, the model's own number.

    >>> x, w = jnp.array([[[3.0, 4.0]]]), jnp.array([[[3.0, 0.0]]])
    >>> found = removal(w, x - w, x, jnp.ones((1, 1, 2)), jnp.array([[7.0 / 12.5**0.5]]), jnp.array([[12.5**0.5]]), 0.0)
    >>> round(float(found.effect[0, 0]), 6), round(7 / 12.5**0.5 - 4 / 8**0.5, 6)
    (0.565685, 0.565685)
    """
    landed, rest = (jnp.vecdot(part, vector) / sigma for part in (removed, kept))
    products = jnp.vecdot(removed, stream), jnp.sum(jnp.square(removed), axis=-1)
    closed = mediated_effect(landed, value, *products, sigma, stream.shape[-1], eps)
    without, difference = rms_sigma(kept, eps), rms_sigma(stream - removed, eps)
    little = difference < sigma / 2
    effect = jnp.where(little, value - jnp.vecdot(kept, vector) / without, landed + closed)
    return Removal(
        landed, rest, effect, jnp.where(little, effect - landed, closed), jnp.where(little, without, difference)
    )
