"""The products of all writes with a vector, and with themselves, made from the factors: no write is ever built."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.per_write import PerWrite
from landed_jax.config import ModelConfig
from landed_jax.nn.sites import Site
from landed_jax.parameters import Params
from landed_jax.trace import Trace, layers_before


def over_layers(function: Callable[..., Any], layers: Params, *stacks: jax.Array) -> Any:
    """``function(layer parameters, layer's slice of each stack)`` for every layer, the results stacked.

    Holds for both ways of keeping parameters; one layer's intermediate values are alive at a time.
    """
    if "attn" in layers:
        return jax.lax.map(lambda slices: function(*slices), (layers, *stacks))
    results = [function(layers[str(i)], *(stack[i] for stack in stacks)) for i in range(len(layers))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def only_before(values: PerWrite, config: ModelConfig, site: str) -> PerWrite:
    """The same numbers, 0 for every write that comes after the read site."""
    attn, mlp = layers_before(config, site)

    def kept(value: jax.Array, count: int) -> jax.Array:
        before = jnp.arange(config.n_layers) < count
        return jnp.where(before.reshape(-1, *(1,) * (value.ndim - 1)), value, 0)

    return PerWrite(
        values.embedding,
        kept(values.heads, attn),
        kept(values.neurons, mlp),
        kept(values.attn_bias, attn),
        kept(values.mlp_bias, mlp),
    )


def contract_output(
    vector: Float[Array, "*batch d_model"], weight: Float[Array, "d_model d_in"]
) -> Float[Array, "*batch d_in"]:
    """``⟨W[:, j], vector⟩`` for every column j: a vector seen from the inputs of an output matrix."""
    return jax.lax.dot_general(vector, weight.astype(vector.dtype), (((vector.ndim - 1,), (0,)), ((), ())))


def _bias(part: Params, name: str, like: jax.Array) -> jax.Array:
    return part[name].astype(like.dtype) if name in part else jnp.zeros(like.shape[-1:], like.dtype)


def inner_products(trace: Trace, vector: Float[Array, "batch position d_model"]) -> PerWrite:
    """``⟨w_u, vector⟩`` for every write u.

    Contracts the output matrices with the vector first, so no write is ever made: one product of the size of
    ``W_O`` and one of ``W_down`` per layer and distinct vector.

    Args:
        vector: one per position; axes of size 1 stand for "the same for all", and then cost a single product.
    """

    def layer(part: Params, z: jax.Array, a: jax.Array) -> tuple[jax.Array, ...]:
        W_O = part["attn"]["W_O"]
        at_heads = contract_output(vector, W_O.reshape(W_O.shape[0], -1)).reshape(*vector.shape[:2], *W_O.shape[1:])
        heads = jnp.sum(z * at_heads, axis=-1)
        neurons = a * contract_output(vector, part["mlp"]["W_down"])
        shape = z.shape[:2]
        attn_bias = jnp.broadcast_to(vector @ _bias(part["attn"], "b_O", vector), shape)
        mlp_bias = jnp.broadcast_to(vector @ _bias(part["mlp"], "b_down", vector), shape)
        return heads, neurons, attn_bias, mlp_bias

    embedding = jnp.sum(trace[Site.EMBEDDING] * vector, axis=-1)
    layers = over_layers(layer, trace.weights()["layers"], trace[Site.HEAD], trace[Site.NEURON])
    return PerWrite(embedding, *layers)


def squared_norms(trace: Trace) -> PerWrite:
    """``⟨w_u, w_u⟩`` for every write u.

    A head's comes from the Gram matrix ``W_O[h]ᵀ W_O[h]`` where there are more positions than head coordinates,
    else from the write itself, whichever is less work.
    """

    def head_norms(z: jax.Array, W_O: jax.Array) -> jax.Array:
        batch, position, _, head_dim = z.shape
        if batch * position < head_dim:
            return jnp.sum(jnp.square(jnp.einsum("bphk,mhk->bphm", z, W_O)), axis=-1)
        gram = jnp.einsum("mhi,mhj->hij", W_O, W_O)
        return jnp.sum(z * jnp.einsum("bphi,hij->bphj", z, gram), axis=-1)

    def layer(part: Params, z: jax.Array, a: jax.Array) -> tuple[jax.Array, ...]:
        heads = head_norms(z, part["attn"]["W_O"].astype(z.dtype))
        columns = jnp.sum(jnp.square(part["mlp"]["W_down"].astype(a.dtype)), axis=0)
        neurons = jnp.square(a) * columns[None, None]
        shape = z.shape[:2]
        like = trace[Site.EMBEDDING]
        attn_bias = jnp.broadcast_to(jnp.sum(jnp.square(_bias(part["attn"], "b_O", like))), shape)
        mlp_bias = jnp.broadcast_to(jnp.sum(jnp.square(_bias(part["mlp"], "b_down", like))), shape)
        return heads, neurons, attn_bias, mlp_bias

    embedding = jnp.sum(jnp.square(trace[Site.EMBEDDING]), axis=-1)
    layers = over_layers(layer, trace.weights()["layers"], trace[Site.HEAD], trace[Site.NEURON])
    return PerWrite(embedding, *layers)
