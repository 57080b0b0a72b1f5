"""One number for every write."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import left_broadcast
from landed_jax.shapes import ShapeRepr


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class PerWrite(ShapeRepr):
    """One number for every write to the stream, at each recorded position.

    The biases are 0 in a model that has none. Numbers of one layer's writes alone have no ``layer`` axis, and numbers
    of the layers' writes no embeddings. Numbers at every read site have a leading ``site`` axis; they are 0 at the
    sites that come before the write.

    Attributes:
        embedding: the token embedding's.
        heads, neurons: each head's and each neuron's.
        attn_bias, mlp_bias: those of the output biases ``b_O`` and ``b_down``.
        position_embedding: the learned position's; None in a model without learned positions.
    """

    embedding: Float[Array, "*site batch position"]
    heads: Float[Array, "*site layer batch position head"]
    neurons: Float[Array, "*site layer batch position neuron"]
    attn_bias: Float[Array, "*site layer batch position"]
    mlp_bias: Float[Array, "*site layer batch position"]
    position_embedding: Float[Array, "*site batch position"] | None = None

    @classmethod
    def of_layers(cls, heads: jax.Array, neurons: jax.Array, attn_bias: jax.Array, mlp_bias: jax.Array) -> "PerWrite":
        """Numbers of the layers' writes alone: those of the embeddings are None."""
        return cls(None, heads, neurons, attn_bias, mlp_bias)  # pyright: ignore[reportArgumentType]

    @classmethod
    def of_embeddings(cls, embeddings: Mapping[str, Float[Array, "batch position"]]) -> "PerWrite":
        """The embeddings' numbers alone, by the names of their fields: all others are None."""
        return dataclasses.replace(cls(None, None, None, None, None), **embeddings)  # pyright: ignore[reportArgumentType]

    @property
    def embeddings(self) -> dict[str, jax.Array]:
        """The numbers of the writes before the layers, by the names of their fields: of those that there are."""
        named = {"embedding": self.embedding, "position_embedding": self.position_embedding}
        return {name: number for name, number in named.items() if number is not None}

    def without_embedding(self) -> "PerWrite":
        """The numbers of the layers' writes alone."""
        return PerWrite.of_layers(self.heads, self.neurons, self.attn_bias, self.mlp_bias)

    @property
    def attn(self) -> Float[Array, "*site layer batch position"]:
        """All heads and the attention bias together, of each layer."""
        return jnp.sum(self.heads, axis=-1) + self.attn_bias

    @property
    def mlp(self) -> Float[Array, "*site layer batch position"]:
        """All neurons and the MLP bias together, of each layer."""
        return jnp.sum(self.neurons, axis=-1) + self.mlp_bias

    @property
    def bias(self) -> Float[Array, "*site batch position"]:
        """All layers' biases together."""
        return jnp.sum(self.attn_bias, axis=-3) + jnp.sum(self.mlp_bias, axis=-3)

    def total(self) -> Float[Array, "*site batch position"]:
        """The sum over every write of all layers."""
        mlp = jnp.sum(jnp.sum(self.neurons, axis=-1), axis=-3)
        layers = jnp.sum(self.heads, axis=(-4, -1)) + mlp + self.bias
        return sum(self.embeddings.values(), start=layers)

    def next(self, order: StreamOrder) -> "PerWrite":
        """Of numbers at every read site: each write's at its next landing, the first norm that reads it."""
        layer, attn, mlp = np.arange(order.n_layers), order.next_attn, order.next_mlp
        layers = PerWrite.of_layers(
            self.heads[attn, layer], self.neurons[mlp, layer], self.attn_bias[attn, layer], self.mlp_bias[mlp, layer]
        )
        return dataclasses.replace(layers, **{name: number[0] for name, number in self.embeddings.items()})

    @property
    def final(self) -> "PerWrite":
        """Of numbers at every read site: each write's at its final landing, the norm before the unembedding."""
        return jax.tree.map(lambda value: value[-1], self)

    def map(self, function: Callable[..., jax.Array], *others: Any) -> "PerWrite":
        """``function(mine, …)`` for each kind; `others` are `PerWrite`, or ``[batch, position]`` arrays."""
        return jax.tree.map(function, self, *(o if isinstance(o, PerWrite) else self._beside(o) for o in others))

    def flat(self) -> Float[Array, "*site layer batch position write"]:
        """Heads, neurons, attention bias and MLP bias along one axis, without the embeddings."""
        biases = self.attn_bias[..., None], self.mlp_bias[..., None]
        return jnp.concatenate([self.heads, self.neurons, *biases], axis=-1)

    @classmethod
    def from_flat(cls, values: Float[Array, "*lead batch position write"], n_heads: int) -> "PerWrite":
        """The inverse of `flat`."""
        return cls.of_layers(values[..., :n_heads], values[..., n_heads:-2], values[..., -2], values[..., -1])

    def _beside(self, value: Float[Array, "batch position"]) -> "PerWrite":
        """A number per position, shaped to stand beside every kind of write that there is."""

        def like(mine: jax.Array, value: jax.Array) -> jax.Array:
            return mine if mine is None else left_broadcast(value, mine)

        wide = value[..., None]
        return PerWrite(
            like(self.embedding, value),
            like(self.heads, wide),
            like(self.neurons, wide),
            like(self.attn_bias, value),
            like(self.mlp_bias, value),
            None if self.position_embedding is None else like(self.position_embedding, value),
        )
