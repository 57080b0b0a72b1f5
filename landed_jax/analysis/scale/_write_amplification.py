"""How much a read magnifies each write as a whole, from the factors: no write is ever built.

A write w is heard as w ⊙ γ/σ. With the parts of its squared length as weights, w_k² / ‖w‖²:

- ``write_weighted`` is the mean of |γ_k|/σ: how much the coordinates that the write uses are magnified.
- ``norm_ratio`` is ``‖w ⊙ γ/σ‖ / ‖w‖``, the root mean square of |γ_k|/σ under the same weights: how much longer or
  shorter the write is when it is heard. It is never below ``write_weighted``.

Under LayerNorm w is the write without its mean, which no read of such a model hears.

Weights w_k² and not |w_k|, because sums of squares follow from a head's factors by a Gram matrix, and sums of absolute
values would need every vector.
"""

import dataclasses
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers, of_embeddings
from landed_jax.errors import LandedError
from landed_jax.nn.functions import heard
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare

WriteDefinition = Literal["write_weighted", "norm_ratio"]
DEFINITIONS: tuple[WriteDefinition, ...] = get_args(WriteDefinition)


@result
class WriteAmplification(Result):
    """How much each write is magnified at its next landing.

    Attributes:
        by_write: a number without a unit for every write.
        definition: ``write_weighted`` or ``norm_ratio``.
    """

    by_write: PerWrite
    definition: str = dataclasses.field(metadata={"static": True})


@analysis(example=lambda trace: {"definition": "norm_ratio"})
def write_amplification(trace: Trace, definition: WriteDefinition) -> WriteAmplification:
    """How much each write is magnified at its next landing, by one of two definitions (see above).

    The embeddings next land at ``0.attn``, layer l's heads and attention bias at ``l.mlp``, its neurons and MLP bias at
    the next layer's attention or at ``final``. In a parallel block the heads too next land where the neurons do.

    Args:
        trace: bound to its weights.
        definition: ``"write_weighted"`` or ``"norm_ratio"``; never defaulted, as published figures seldom say which
            they mean.

    Returns:
        A number for every write, without a unit; 0 for a write of zeros, which there is nothing to magnify of. A
        neuron's does not depend on its activation, only on its output column.

    Raises:
        LandedError: for another definition, or a trace without weights or the needed sites.

    References:
        Zhang & Sennrich, Root Mean Square Layer Normalization, 2019 (the norm whose γ/σ this is).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> write_amplification(trace.bind(params), "norm_ratio").by_write.heads.shape
    (2, 1, 3, 4)
    """
    return WriteAmplification(_write_amplification(bare(trace), pick=definition_index(definition)), definition)


@partial(by_layers, static=("pick",))
def _write_amplification(trace: Trace, *, pick: int) -> PerWrite:
    sigma, gains = trace.sigma, jax.tree.map(lambda both: both[:, pick], layer_gains(trace))
    at_heads, at_neurons = sigma[trace.order.next_attn], sigma[trace.order.next_mlp]
    layers = PerWrite.of_layers(
        gains.heads / at_heads[..., None],
        jnp.where(trace[HookPoint.NEURON] != 0, gains.neurons / at_neurons[..., None], 0),
        gains.attn_bias / at_heads,
        gains.mlp_bias / at_neurons,
    )
    embeddings = {name: both[pick] / sigma[0] for name, both in embedding_gains(trace).items()}
    return dataclasses.replace(layers, **embeddings)


def definition_index(definition: WriteDefinition) -> int:
    """The place of a definition in what this file computes, which is always both.

    Raises:
        LandedError: for another name.
    """
    if definition not in DEFINITIONS:
        raise LandedError(f"{definition!r} is not a definition of a write's amplification: {' or '.join(DEFINITIONS)}.")
    return DEFINITIONS.index(definition)


def embedding_gains(trace: Trace) -> dict[str, Float[Array, "definition batch position"]]:
    """The embeddings' amplification at ``0.attn`` by both definitions, times σ; by the names of `PerWrite`'s fields."""
    weights = _weights(trace.gamma[0])

    def gains(written: jax.Array) -> jax.Array:
        return _ratios(jnp.einsum("bpm,wm->wbp", jnp.square(heard(written, trace.config)), weights))

    return of_embeddings(trace, gains)


def layer_gains(trace: Trace) -> PerWrite:
    """The amplification of the layers' writes at their next landings by both definitions, times σ.

    Axes ``[layer, definition, batch, position, …]``. Without σ a neuron's is the same at all positions, whatever its
    activation (axes of size 1): nothing here is of the size of the neurons at all positions.
    """

    def layer(writes: LayerWrites, at_heads: jax.Array, at_neurons: jax.Array) -> PerWrite:
        of_attn, of_mlp = (writes.weighted_squares(_weights(gamma)) for gamma in (at_heads, at_neurons))
        sums = dataclasses.replace(of_attn, neurons=of_mlp.neurons, mlp_bias=of_mlp.mlp_bias)
        return jax.tree.map(_ratios, sums)

    gammas = trace.gamma[trace.order.next_attn], trace.gamma[trace.order.next_mlp]
    return from_layers(trace, layer, *gammas, heard=True, in_turn=True)


def _weights(gamma: Float[Array, " d_model"]) -> Float[Array, "3 d_model"]:
    """What a write's squares are summed with: 1, |γ| and γ²."""
    return jnp.stack([jnp.ones_like(gamma), jnp.abs(gamma), jnp.square(gamma)])


def _ratios(sums: Float[Array, "3 *shape"]) -> Float[Array, "2 *shape"]:
    """Both definitions from the sums of squares; 0 where there was no write."""
    length, mean, square = sums
    safe = jnp.where(length > 0, length, 1)
    # A square root of 0 has no slope, so it is never taken.
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1) / safe), 0)
    return jnp.where(length > 0, jnp.stack([mean / safe, root]), 0)
