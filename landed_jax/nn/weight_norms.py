"""What the weights alone give to the norms of writes: made once, it serves every prompt."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WeightNorms:
    """One layer's inner products of output weights with themselves; with a leading axis, those of all layers.

    Under LayerNorm those of each column without its mean, which no read hears.

    Attributes:
        heads: the Gram matrix ``W_O[h]ᵀ W_O[h]`` of each head.
        neurons: the squared norm of each column of ``W_down``.
        before: in a model with output norms, whose gains are in these, the same without the gains; None in others.
    """

    heads: Float[Array, "*layer head head_dim head_dim"]
    neurons: Float[Array, "*layer neuron"]
    before: "WeightNorms | None" = None
