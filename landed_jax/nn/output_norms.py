"""What the weights alone give to the norms of writes: made once, it serves every prompt."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OutputNorms:
    """One layer's inner products of output weights with themselves; with a leading axis, those of all layers.

    Attributes:
        heads: the Gram matrix ``W_O[h]ᵀ W_O[h]`` of each head.
        neurons: the squared norm of each column of ``W_down``.
    """

    heads: Float[Array, "*layer head head_dim head_dim"]
    neurons: Float[Array, "*layer neuron"]


@jax.jit
def head_grams(
    W_O: Float[Array, "d_model head head_dim"], weight: Float[Array, " d_model"] | None = None
) -> Float[Array, "head head_dim head_dim"]:
    """``W_O[h]ᵀ W_O[h]`` of each head, or ``W_O[h]ᵀ diag(weight) W_O[h]``."""
    if jax.default_backend() != "cpu":
        weighted = W_O if weight is None else W_O * weight[:, None, None]
        return jnp.einsum("mhi,mhj->hij", weighted, W_O)
    # XLA on CPU would first transpose the whole matrix, which takes twice as long as all products.
    rows, heads, head_dim = W_O.shape
    flat = W_O.reshape(rows, -1)

    def one(head: jax.Array) -> jax.Array:
        own = jax.lax.dynamic_slice_in_dim(flat, head * head_dim, head_dim, axis=1)
        return (own if weight is None else own * weight[:, None]).T @ own

    return jax.lax.map(one, jnp.arange(heads))


def squares_by_gram(
    z: Float[Array, "batch position head head_dim"], gram: Float[Array, "head head_dim head_dim"]
) -> Float[Array, "batch position head"]:
    """``z_hᵀ G_h z_h`` of each head: its write's squared length, where G is `head_grams`."""
    # Heads first, as the product comes out: for another order XLA on a CPU takes twice as long.
    z = jnp.moveaxis(z, 2, 0)
    return jnp.moveaxis(jnp.vecdot(z, jnp.einsum("hbpi,hij->hbpj", z, gram)), 0, -1)


def column_norms(W_down: Float[Array, "d_model neuron"]) -> Float[Array, " neuron"]:
    """The squared norm of each column."""
    return jnp.einsum("mf,mf->f", W_down, W_down)


def layer_norms(part: Any, dtype: Any) -> OutputNorms:
    """`OutputNorms` of one layer's parameters."""
    W_O, W_down = part["attn"]["W_O"], part["mlp"]["W_down"]
    return OutputNorms(head_grams(W_O.astype(dtype)), column_norms(W_down.astype(dtype)))
