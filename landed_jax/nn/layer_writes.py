"""What one layer writes, held as the factors that its writes are made of: no write is ever built."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.functions import contract_output


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
    """

    layer: Int[Array, ""]
    z: Float[Array, "batch position head head_dim"]
    a: Float[Array, "batch position neuron"]
    W_O: Float[Array, "d_model head head_dim"]
    W_down: Float[Array, "d_model neuron"]
    b_O: Float[Array, " d_model"] | None
    b_down: Float[Array, " d_model"] | None

    @classmethod
    def of(cls, layer: Any, part: Any, z: jax.Array, a: jax.Array) -> "LayerWrites":
        """From one layer's parameters and its factors."""
        attn, mlp = part["attn"], part["mlp"]
        return cls(layer, z, a, attn["W_O"], mlp["W_down"], attn.get("b_O"), mlp.get("b_down"))

    def inner_products(self, vector: Float[Array, "_ _ d_model"]) -> PerLayerWrite:
        """``⟨w, vector⟩`` for every write of the layer: one product of the size of ``W_O`` and one of ``W_down``.

        Args:
            vector: one a position; axes of size 1 stand for "the same for all", and then cost a single product.
        """
        W_O = self.W_O
        at_heads = contract_output(vector, W_O.reshape(W_O.shape[0], -1)).reshape(*vector.shape[:2], *W_O.shape[1:])
        return PerLayerWrite(
            heads=jnp.sum(self.z * at_heads, axis=-1),
            neurons=self.a * contract_output(vector, self.W_down),
            attn_bias=self._constant(self._bias(self.b_O, vector), vector),
            mlp_bias=self._constant(self._bias(self.b_down, vector), vector),
        )

    def squared_norms(self) -> PerLayerWrite:
        """``⟨w, w⟩`` for every write of the layer.

        A head's comes from the Gram matrix ``W_O[h]ᵀ W_O[h]`` where there are more positions than head coordinates,
        else from the write itself, whichever is less work.
        """
        z, a = self.z, self.a
        columns = jnp.sum(jnp.square(self.W_down.astype(a.dtype)), axis=0)
        b_O, b_down = self._bias(self.b_O, z), self._bias(self.b_down, z)
        return PerLayerWrite(
            heads=_head_norms(z, self.W_O.astype(z.dtype)),
            neurons=jnp.square(a) * columns[None, None],
            attn_bias=jnp.broadcast_to(jnp.sum(jnp.square(b_O)), z.shape[:2]),
            mlp_bias=jnp.broadcast_to(jnp.sum(jnp.square(b_down)), z.shape[:2]),
        )

    def _bias(self, bias: jax.Array | None, like: jax.Array) -> jax.Array:
        return jnp.zeros(self.W_down.shape[:1], like.dtype) if bias is None else bias.astype(like.dtype)

    def _constant(self, bias: jax.Array, vector: jax.Array) -> jax.Array:
        return jnp.broadcast_to(vector @ bias, self.z.shape[:2])


def _head_norms(z: Float[Array, "batch position head head_dim"], W_O: jax.Array) -> Float[Array, "batch position head"]:
    batch, position, _, head_dim = z.shape
    if batch * position < head_dim:
        return jnp.sum(jnp.square(jnp.einsum("bphk,mhk->bphm", z, W_O)), axis=-1)
    gram = jnp.einsum("mhi,mhj->hij", W_O, W_O)
    return jnp.sum(z * jnp.einsum("bphi,hij->bphj", z, gram), axis=-1)
