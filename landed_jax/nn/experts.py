"""Which experts a position uses, and with which weights: the router's choice, as pure functions of its logits."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Chosen:
    """The experts that each position used.

    Attributes:
        ids: their numbers, in the order of their logits, largest first.
        weights: p_e, what each one's output is multiplied with.
    """

    ids: Int[Array, "*layer batch position slot"]
    weights: Float[Array, "*layer batch position slot"]


def choose(logits: Float[Array, "batch position expert"], count: int) -> Int[Array, "batch position slot"]:
    """The experts with the largest router logits, largest first; of equal ones those with the smaller numbers.

    >>> choose(jnp.array([[[0.0, 2.0, 1.0, 2.0]]]), 2).tolist()
    [[[1, 3]]]
    """
    return jax.lax.top_k(logits, count)[1]


def expert_weights(
    logits: Float[Array, "batch position expert"], ids: Int[Array, "batch position slot"], normalised: bool
) -> Float[Array, "batch position slot"]:
    """The chosen experts' weights: the softmax over the chosen ones' logits, or their part of that over all.

    >>> logits, ids = jnp.log(jnp.array([[[1.0, 2.0, 1.0]]])), jnp.array([[[1, 0]]])
    >>> for normalised in (True, False):
    ...     [round(weight, 4) for weight in expert_weights(logits, ids, normalised)[0, 0].tolist()]
    [0.6667, 0.3333]
    [0.5, 0.25]
    """
    own = jnp.take_along_axis(logits, ids, axis=-1)
    return jax.nn.softmax(own, axis=-1) if normalised else jnp.exp(own - jax.nn.logsumexp(logits, -1, keepdims=True))
