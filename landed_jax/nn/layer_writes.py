"""What one layer writes, held as the factors that its writes are made of: no write is ever built."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.nn.functions import contract_output, linear
from landed_jax.nn.output_norms import OutputNorms, column_norms, head_grams, squares_by_gram
from landed_jax.numerics import cast_late


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PerLayerWrite:
    """One number for every write of one layer, at each recorded position; the biases are 0 in a model without any.

    Attributes:
        heads, neurons: each head's and each neuron's.
        attn_bias, mlp_bias: those of the output biases ``b_O`` and ``b_down``.
    """

    heads: Float[Array, "batch position head"]
    neurons: Float[Array, "batch position neuron"]
    attn_bias: Float[Array, "batch position"]
    mlp_bias: Float[Array, "batch position"]

    @property
    def attn(self) -> Float[Array, "batch position"]:
        """All heads and the attention bias together."""
        return jnp.sum(self.heads, axis=-1) + self.attn_bias

    @property
    def mlp(self) -> Float[Array, "batch position"]:
        """All neurons and the MLP bias together."""
        return jnp.sum(self.neurons, axis=-1) + self.mlp_bias

    def map(self, function: Any, *others: Any) -> "PerLayerWrite":
        """``function(mine, …)`` for each kind; `others` are `PerLayerWrite`, or ``[batch, position]`` arrays."""
        return jax.tree.map(function, self, *(o if isinstance(o, PerLayerWrite) else _wide(o) for o in others))


def _wide(value: Float[Array, "batch position"]) -> PerLayerWrite:
    return PerLayerWrite(value[..., None], value[..., None], value, value)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LayerWrites:
    """The writes of one layer: head h writes ``z_h W_O[h]``, neuron j writes ``a_j W_down[j]``.

    Attributes:
        layer: which layer, a scalar.
        z: the heads' mixed values.
        a: the neurons' activations.
        W_O, W_down: the output matrices, outputs first, in their own float type.
        b_O, b_down: the output biases; None in a model without them.
        at: the positions' columns in the tokens.
        real: False on padding, whose factors are numbers too: whoever counts or sums over positions leaves them out.
        norms: what the weights alone give to the writes' norms, where somebody made it before.
    """

    layer: Int[Array, ""]
    z: Float[Array, "batch position head head_dim"]
    a: Float[Array, "batch position neuron"]
    W_O: Float[Array, "d_model head head_dim"]
    W_down: Float[Array, "d_model neuron"]
    b_O: Float[Array, " d_model"] | None
    b_down: Float[Array, " d_model"] | None
    at: Int[Array, " position"]
    real: Bool[Array, "batch position"]
    norms: OutputNorms | None = None

    @classmethod
    def of(
        cls,
        layer: Any,
        part: Any,
        z: jax.Array,
        a: jax.Array,
        at: jax.Array,
        mask: jax.Array,
        norms: OutputNorms | None = None,
    ) -> "LayerWrites":
        """From one layer's parameters, its factors at the columns `at`, and the whole prompts' mask."""
        attn, mlp = part["attn"], part["mlp"]
        real = jnp.take(mask, at, axis=1)
        return cls(layer, z, a, attn["W_O"], mlp["W_down"], attn.get("b_O"), mlp.get("b_down"), at, real, norms)

    def inner_products(self, vector: Float[Array, "*at d_model"]) -> PerLayerWrite:
        """``⟨w, vector⟩`` for every write of the layer: one product of the size of ``W_O`` and one of ``W_down``.

        Args:
            vector: ``[d_model]``, or one a position, ``[batch or 1, position or 1, d_model]``: what is the same for
                all costs a single product.
        """
        return self.inner_products_with((vector.reshape((1,) * (3 - vector.ndim) + vector.shape),))[0]

    def inner_products_with(self, vectors: Sequence[Float[Array, "_ _ d_model"]]) -> list[PerLayerWrite]:
        """`inner_products` with each of several vectors; those of one shape read the output matrices once.

        But a single row goes alone: it may be a target that somebody maps over, and the others must not be.
        """
        alike = len({vector.shape for vector in vectors}) == 1
        if len(vectors) > 1 and alike and vectors[0].size > vectors[0].shape[-1]:
            heads, neurons = self._seen_from(jnp.concatenate(vectors, axis=1))
            parts = (jnp.split(seen, len(vectors), axis=1) for seen in (heads, neurons))
            seen = zip(*parts, strict=True)
        else:
            seen = map(self._seen_from, vectors)
        return [
            PerLayerWrite(
                heads=jnp.vecdot(self.z, at_heads),
                neurons=self.a * at_neurons,
                attn_bias=self._constant(self.b_O, vector),
                mlp_bias=self._constant(self.b_down, vector),
            )
            for vector, (at_heads, at_neurons) in zip(vectors, seen, strict=True)
        ]

    def _seen_from(self, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A vector as each head's and each neuron's factor meets it."""
        W_O = self.W_O
        at_heads = contract_output(vector, W_O.reshape(W_O.shape[0], -1)).reshape(*vector.shape[:2], *W_O.shape[1:])
        return at_heads, contract_output(vector, self.W_down)

    def squared_norms(self) -> PerLayerWrite:
        """``⟨w, w⟩`` for every write of the layer.

        A neuron's is its squared activation times that of its column; a head's comes from its Gram matrix
        ``W_O[h]ᵀ W_O[h]``. Both are in `norms`, or are made here; but the heads of a position or two are written out,
        which is less work than Gram matrices.
        """
        return PerLayerWrite(
            heads=self._head_norms(),
            neurons=jnp.square(self.a) * self.column_norms()[None, None],
            attn_bias=self._constant(self.b_O, None),
            mlp_bias=self._constant(self.b_down, None),
        )

    def column_norms(self) -> Float[Array, " neuron"]:
        """The squared norm of each column of ``W_down``."""
        return column_norms(cast_late(self.W_down, self.a)) if self.norms is None else self.norms.neurons

    def _head_norms(self) -> Float[Array, "batch position head"]:
        z, heads = self.z, self.z.shape[2]
        if self.norms is None and math.prod(z.shape[:3]) <= z.shape[3]:
            alone = jnp.where(jnp.eye(heads, dtype=bool)[None, None, :, :, None], z[:, :, None], 0)
            written = linear(alone.reshape(*z.shape[:3], -1), self.W_O.reshape(self.W_O.shape[0], -1))
            return jnp.sum(jnp.square(written), axis=-1)
        gram = head_grams(cast_late(self.W_O, z)) if self.norms is None else self.norms.heads
        return squares_by_gram(z, gram)

    def _constant(self, bias: jax.Array | None, vector: jax.Array | None) -> jax.Array:
        """A bias's product with a vector, or with itself, at every position."""
        shape, dtype = self.z.shape[:2], self.z.dtype
        if bias is None:
            return jnp.zeros(shape, dtype)
        bias = bias.astype(dtype)
        return jnp.broadcast_to((bias if vector is None else vector) @ bias, shape)
