"""The products of all writes with a vector, and with themselves, made from the factors: no write is ever built."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers, over_layers
from landed_jax.nn.layer_writes import LayerWrites, layer_norms
from landed_jax.nn.output_scale import OutputScale
from landed_jax.nn.parameters import Params
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.numerics import compute_dtype, highest_precision
from landed_jax.trace import Trace


def only_before(values: PerWrite, config: ModelConfig, site: str) -> PerWrite:
    """The same numbers, 0 for every write that comes after the read site."""
    attn, mlp = StreamOrder.of(config).layers_before(site)

    def kept(value: jax.Array, count: int) -> jax.Array:
        if count >= config.n_layers:
            return value
        before = jnp.arange(config.n_layers) < count
        return jnp.where(before.reshape(-1, *(1,) * (value.ndim - 1)), value, 0)

    return dataclasses.replace(
        values,
        heads=kept(values.heads, attn),
        neurons=kept(values.neurons, mlp),
        attn_bias=kept(values.attn_bias, attn),
        mlp_bias=kept(values.mlp_bias, mlp),
    )


def from_layers(
    trace: Trace,
    function: Callable[..., Any],
    *stacks: Any,
    heard: bool = False,
    norms: WeightNorms | None = None,
    in_turn: bool = False,
) -> Any:
    """``function(layer's writes, layer's slice of each stack)`` for every layer, with a leading layer axis.

    Args:
        heard: the writes as the model's norms see them: under LayerNorm each without its mean.
        norms: `weight_norms` of the weights, where they were computed before.
        in_turn: as for `over_layers`.
    """

    def layer(part: Params, index: jax.Array, factors: Any, scales: Any, norms: Any, *slices: Any) -> Any:
        z, a, chosen = factors
        writes = LayerWrites.of(index, part, z, a, scales, trace.at, trace.tokens.mask, norms, chosen)
        return function(writes.centred() if heard and trace.config.norm == "layer" else writes, *slices)

    factors = trace[HookPoint.HEAD], trace[HookPoint.NEURON], trace.chosen
    mine = jnp.arange(trace.config.n_layers), factors, output_scales(trace), norms
    return over_layers(layer, trace.weights()["layers"], *mine, *stacks, in_turn=in_turn)


def output_scales(trace: Trace) -> tuple[OutputScale, OutputScale]:
    """What scales attention's and the MLP's outputs, of all layers: arrays with a leading layer axis."""
    if not trace.config.output_norms:
        plain = OutputScale.of(trace.config, None, None)
        return plain, plain
    attn = trace[HookPoint.ATTN_OUT_SIGMA], trace[HookPoint.ATTN_OUT_GAMMA]
    mlp = trace[HookPoint.MLP_OUT_SIGMA], trace[HookPoint.MLP_OUT_GAMMA]
    return OutputScale.of(trace.config, *attn), OutputScale.of(trace.config, *mlp)


def inner_products(trace: Trace, vector: Float[Array, "batch position d_model"]) -> PerWrite:
    """``⟨w_u, vector⟩`` for every write u.

    Contracts the output matrices with the vector first, so no write is ever made: one product with each matrix per
    layer and distinct vector.

    Args:
        vector: one per position; axes of size 1 stand for "the same for all", and then cost a single product.
    """
    return inner_products_with(trace, (vector,))[0]


def inner_products_with(trace: Trace, vectors: Sequence[Float[Array, "_ _ d_model"]]) -> list[PerWrite]:
    """`inner_products` with each of several vectors; those of one shape read the output matrices once."""
    layers = from_layers(trace, lambda writes: writes.inner_products_with(vectors), in_turn=True)
    return [
        dataclasses.replace(of_layers, **of_embeddings(trace, lambda written, v=vector: jnp.vecdot(written, v)))
        for vector, of_layers in zip(vectors, layers, strict=True)
    ]


def of_embeddings(
    trace: Trace, function: Callable[[Float[Array, "batch position d_model"]], jax.Array]
) -> dict[str, jax.Array]:
    """``function(write)`` of each write before the layers, by the names of `PerWrite`'s fields."""
    return {name: function(written) for name, written in trace.embeddings.items()}


def squared_norms(trace: Trace, norms: WeightNorms | None = None) -> PerWrite:
    """``⟨w_u, w_u⟩`` for every write u of the layers, under LayerNorm without its mean."""

    def layer(writes: LayerWrites) -> PerWrite:
        return dataclasses.replace(writes.squared_norms(), neurons=writes.squares_per_activation())

    layers = from_layers(trace, layer, heard=True, norms=norms)
    # All layers' neurons together: XLA fuses the squares into what is computed from them.
    neurons = jnp.square(trace[HookPoint.NEURON]) * layers.neurons
    return dataclasses.replace(layers, neurons=neurons)


@highest_precision
def weight_norms(params: Params, config: ModelConfig, dtype: Any = None) -> WeightNorms:
    """What the weights alone give to the norms of writes, for direct effects: the same for every prompt.

    Make it once where many prompts follow each other, and pass it as ``norms=``: on a CPU it takes about as long as a
    forward pass of 32 tokens, and ``layers · (heads · head_dim² + d_ff)`` numbers.

    Args:
        params, config: the weights, in any float type, and their architecture.
        dtype: float32 or float64, that of the traces; by default JAX's default float.

    >>> from landed_jax import ModelConfig, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> norms = weight_norms(init_params(config, jax.random.key(0)), config)
    >>> norms.heads.shape, norms.neurons.shape
    ((2, 4, 4, 4), (2, 12))
    """
    return _weight_norms(params, config=config, dtype=compute_dtype(dtype))


@partial(by_layers, static=("config", "dtype"))
def _weight_norms(params: Params, *, config: ModelConfig, dtype: Any) -> WeightNorms:
    return over_layers(lambda part: layer_norms(part, config, dtype), params["layers"])


def check_norms(norms: WeightNorms | None, trace: Trace) -> None:
    """Refuse norms that cannot be those of a trace's weights.

    Raises:
        LandedError: for another float type or other shapes.
    """
    config, dtype = trace.config, trace[HookPoint.EMBEDDING].dtype
    shape = (config.n_layers, *((config.n_experts,) if config.n_experts else ()), config.d_ff)
    if norms is not None and (norms.neurons.shape != shape or norms.neurons.dtype != dtype):
        raise LandedError(
            f"These weight_norms are of {norms.neurons.dtype} and of neurons {list(norms.neurons.shape)}, the trace of "
            f"{dtype} and {list(shape)}: make them of the same weights, with weight_norms(params, config, "
            f"{str(dtype)!r})."
        )
