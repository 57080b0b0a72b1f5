"""One number for every write."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.layer_writes import PerLayerWrite


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PerWrite:
    """One number for every write to the stream, at each recorded position.

    The biases are 0 in a model that has none.

    Attributes:
        embedding: the token embedding's.
        heads, neurons: each head's and each neuron's.
        attn_bias, mlp_bias: those of the output biases ``b_O`` and ``b_down``.
    """

    embedding: Float[Array, "batch position"]
    heads: Float[Array, "layer batch position head"]
    neurons: Float[Array, "layer batch position neuron"]
    attn_bias: Float[Array, "layer batch position"]
    mlp_bias: Float[Array, "layer batch position"]

    @classmethod
    def of(cls, embedding: Float[Array, "batch position"], layers: PerLayerWrite) -> "PerWrite":
        """From the embedding's number and those of all layers, stacked."""
        return cls(embedding, layers.heads, layers.neurons, layers.attn_bias, layers.mlp_bias)

    @property
    def bias(self) -> Float[Array, "batch position"]:
        """All additive biases together."""
        return jnp.sum(self.attn_bias, axis=0) + jnp.sum(self.mlp_bias, axis=0)

    @property
    def mlp(self) -> Float[Array, "layer batch position"]:
        """Each layer's neurons summed."""
        return jnp.sum(self.neurons, axis=-1)

    def total(self) -> Float[Array, "batch position"]:
        """The sum over every write."""
        return self.embedding + jnp.sum(self.heads, axis=(0, 3)) + jnp.sum(self.mlp, axis=0) + self.bias

    def map(self, function: Callable[..., jax.Array], *others: Any) -> "PerWrite":
        """``function(mine, …)`` for each kind; `others` are `PerWrite`, or ``[batch, position]`` arrays."""
        return jax.tree.map(function, self, *(o if isinstance(o, PerWrite) else _spread(o) for o in others))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PerWriteInLayers:
    """One number for every write of the layers: a `PerWrite` without the embedding's."""

    heads: Float[Array, "layer batch position head"]
    neurons: Float[Array, "layer batch position neuron"]
    attn_bias: Float[Array, "layer batch position"]
    mlp_bias: Float[Array, "layer batch position"]


def _spread(value: Float[Array, "batch position"]) -> PerWrite:
    """A number per position, shaped to stand beside every kind of write."""
    wide, layered = value[None, :, :, None], value[None]
    return PerWrite(value, wide, wide, layered, layered)
