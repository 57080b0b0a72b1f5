"""The products of all writes with a vector, and with themselves, made from the factors: no write is ever built."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.per_write import PerWrite
from landed_jax.config import ModelConfig
from landed_jax.nn.layer_writes import LayerWrites, PerLayerWrite
from landed_jax.nn.sites import Site
from landed_jax.numerics import after
from landed_jax.parameters import Params
from landed_jax.trace import Trace, layers_before


def over_layers(function: Callable[..., Any], layers: Params, *stacks: Any, in_turn: bool = False) -> Any:
    """``function(layer parameters, layer's slice of each stack)`` for every layer, the results stacked.

    Holds for both ways of keeping parameters.

    Args:
        in_turn: make sure that one layer's intermediate values are gone when the next layer's are made (XLA may else
            run all layers side by side, where they are held apart): worth it where results are small.
    """
    if "attn" in layers:
        return jax.lax.map(lambda slices: function(*slices), (layers, *stacks))
    results = []
    for i in range(len(layers)):
        slices = jax.tree.map(lambda leaf, i=i: leaf[i], stacks)
        if in_turn and results:
            slices = jax.tree.map(lambda leaf: after(leaf, results[-1]), slices)
        results.append(function(layers[str(i)], *slices))
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


def from_layers(trace: Trace, function: Callable[[LayerWrites], PerLayerWrite]) -> PerLayerWrite:
    """``function`` of every layer's writes, with a leading layer axis."""

    def layer(part: Params, index: jax.Array, z: jax.Array, a: jax.Array) -> PerLayerWrite:
        return function(LayerWrites.of(index, part, z, a))

    index = jnp.arange(trace.config.n_layers)
    return over_layers(layer, trace.weights()["layers"], index, trace[Site.HEAD], trace[Site.NEURON])


def inner_products(trace: Trace, vector: Float[Array, "batch position d_model"]) -> PerWrite:
    """``⟨w_u, vector⟩`` for every write u.

    Contracts the output matrices with the vector first, so no write is ever made: one product of the size of
    ``W_O`` and one of ``W_down`` per layer and distinct vector.

    Args:
        vector: one per position; axes of size 1 stand for "the same for all", and then cost a single product.
    """
    layers = from_layers(trace, lambda writes: writes.inner_products(vector))
    return PerWrite.of(jnp.sum(trace[Site.EMBEDDING] * vector, axis=-1), layers)


def squared_norms(trace: Trace) -> PerWrite:
    """``⟨w_u, w_u⟩`` for every write u."""
    layers = from_layers(trace, LayerWrites.squared_norms)
    return PerWrite.of(jnp.sum(jnp.square(trace[Site.EMBEDDING]), axis=-1), layers)
