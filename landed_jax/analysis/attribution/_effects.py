"""What a value loses at its own norm without one write: σ recomputed, all other writes as they ran."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.reads._read import residual_at, sigma_at
from landed_jax.analysis.writes._projections import from_layers, only_before, squared_norms
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.output_norms import OutputNorms
from landed_jax.nn.per_write import PerWrite
from landed_jax.numerics import left_broadcast
from landed_jax.trace import Trace

# σ′²/σ² under which the closed form has lost so many digits that σ′ is better taken from the stream without the write.
NEARLY_NOTHING_LEFT = 1 / 4


def mediated_effect(
    landed: Float[Array, "*#shape"],
    value: Float[Array, "*#shape"],
    write_dot_stream: Float[Array, "*#shape"],
    write_dot_write: Float[Array, "*#shape"],
    sigma: Float[Array, "*#shape"],
    d_model: int,
    eps: float,
) -> Float[Array, "*#shape"]:
    """Direct effect less landed contribution: ``(landed − value) (σ/σ′ − 1)``, what a write does through the scale.

    Without w the stream's scale is σ′² = σ² − 2⟨w,x⟩/d + ⟨w,w⟩/d, and the value is (value − landed) σ/σ′. With
    δ = σ′²/σ² − 1 the second factor is (1+δ)^−½ − 1, written so that no digits are lost where δ is tiny, as for most
    writes. σ′² is never below ε, as for a stream that the write makes up alone.

    Where little is left of the stream, δ is near −1 and the error of σ′² is that of σ²: relative to what is left it
    grows as σ²/σ′². `removal` and `rescaling` do without the closed form there.

    >>> round(float(mediated_effect(*map(jnp.array, (0.0, 2.0, 6.0, 4.0, 2.0)), 4, 0.0)), 6)  # σ′² = 4 − 3 + 1
    -0.828427
    """
    delta = _change(write_dot_stream, write_dot_write, sigma, d_model)
    return (landed - value) * _rescale(delta, eps / jnp.square(sigma))


def sigma_share(
    write_dot_stream: Float[Array, "*#shape"], sigma: Float[Array, "*#shape"], d_model: int
) -> Float[Array, "*#shape"]:
    """``⟨w,x⟩ / (d σ²)``: the write's part of the stream's σ². Over all writes it sums to 1 − ε/σ².

    >>> float(sigma_share(jnp.array(8.0), jnp.array(2.0), 4))
    0.5
    """
    return write_dot_stream / (d_model * jnp.square(sigma))


def rescaling(trace: Trace, site: str, with_stream: PerWrite, norms: OutputNorms | None = None) -> PerWrite:
    """``σ/σ′ − 1`` for every write before a read site, σ′ being the scale without the write; 0 for later writes.

    A value that the site's norm hears is (value − landed) · (1 + rescaling) without the write.

    The closed form's relative error is about ``ε_float σ²/σ′²``: harmless, except for a write that is nearly the whole
    stream (the embedding at early sites, one neuron at a token of massive norm). For the embedding, the biases, and
    in every layer the head and the neuron that leave least behind, σ′ is then taken from the vector x − w, and the
    error is about ``ε_float σ/σ′`` (`group_effect` of that one write has none of it). Where no head or neuron comes
    near, that costs a minimum and nothing else; where one does, a product with each layer's heads.

    Args:
        with_stream: ``⟨w_u, x⟩`` for the writes before the site, 0 for later ones.
        norms: `output_norms` of the weights, where they were made before.

    Raises:
        LandedError: for a trace without weights, or a site before the final norm without `RESIDUALS`.
    """
    config, x, sigma = trace.config, residual_at(trace, site), sigma_at(trace, site)
    of_writes = only_before(squared_norms(trace, norms), config, site)
    change = with_stream.map(lambda wx, ww, s: _change(wx, ww, s, config.d_model), of_writes, sigma)
    floor = config.norm_eps / jnp.square(sigma)
    of_layers = change.without_embedding()

    def mended() -> PerWrite:
        return from_layers(trace, lambda writes, change: _from_vectors(writes, change, x, sigma, floor), of_layers)

    # One condition for all layers: one a layer would take twice as long to compile.
    layers = jax.lax.cond(_little_left(of_layers), mended, lambda: _closed(of_layers, floor))
    embedding = _from_vector_if_little(change.embedding, trace[HookPoint.EMBEDDING], x, sigma, floor)
    return dataclasses.replace(layers, embedding=embedding)


def layer_rescaling(
    writes: LayerWrites,
    with_stream: PerWrite,
    stream: Float[Array, "batch position d_model"],
    sigma: Float[Array, "batch position"],
    eps: float,
) -> PerWrite:
    """`rescaling` of one layer's writes, inside the layer loop.

    Args:
        with_stream: ``⟨w, x⟩`` for the layer's writes.
        stream, sigma: x and σ at the read site.
    """
    d_model = stream.shape[-1]
    change = with_stream.map(lambda wx, ww, s: _change(wx, ww, s, d_model), writes.squared_norms(), sigma)
    floor = eps / jnp.square(sigma)

    def mended() -> PerWrite:
        return _from_vectors(writes, change, stream, sigma, floor)

    return jax.lax.cond(_little_left(change), mended, lambda: _closed(change, floor))


def embedding_rescaling(
    embedding: Float[Array, "batch position d_model"],
    stream: Float[Array, "batch position d_model"],
    sigma: Float[Array, "batch position"],
    eps: float,
) -> Float[Array, "batch position"]:
    """`rescaling` of the embedding."""
    with_stream, norm = (jnp.vecdot(embedding, other) for other in (stream, embedding))
    change = _change(with_stream, norm, sigma, stream.shape[-1])
    return _from_vector_if_little(change, embedding, stream, sigma, eps / jnp.square(sigma))


def _little_left(change: PerWrite) -> jax.Array:
    """Whether any write is nearly the whole stream."""
    return jnp.stack([jnp.min(delta) for delta in jax.tree.leaves(change)]).min() < NEARLY_NOTHING_LEFT - 1


def _closed(change: PerWrite, floor: Float[Array, "batch position"]) -> PerWrite:
    """The closed form, for one layer or for all of them stacked."""
    heads, neurons = (_rescale(d, left_broadcast(floor[..., None], d)) for d in (change.heads, change.neurons))
    biases = (_rescale(d, left_broadcast(floor, d)) for d in (change.attn_bias, change.mlp_bias))
    return PerWrite.of_layers(heads, neurons, *biases)


def _from_vectors(
    writes: LayerWrites, change: PerWrite, stream: jax.Array, sigma: jax.Array, floor: jax.Array
) -> PerWrite:
    """The closed form, but from the vectors for the biases, the head and the neuron that leave little behind."""

    def many(delta: Float[Array, "batch position n"], make: Callable[[jax.Array], jax.Array]) -> jax.Array:
        index = jnp.argmin(delta, axis=-1)
        here = jax.nn.one_hot(index, delta.shape[-1], dtype=bool) & (delta < NEARLY_NOTHING_LEFT - 1)
        vector = _from_vector(make(index), stream, sigma, floor)
        return jnp.where(here, vector[..., None], _rescale(delta, floor[..., None]))

    def bias(delta: jax.Array, write: jax.Array | None) -> jax.Array:
        return jnp.zeros_like(delta) if write is None else _from_vector_if_little(delta, write, stream, sigma, floor)

    attn_bias, mlp_bias = writes.biases()
    return PerWrite.of_layers(
        many(change.heads, writes.head),
        many(change.neurons, writes.neuron),
        bias(change.attn_bias, attn_bias),
        bias(change.mlp_bias, mlp_bias),
    )


def _from_vector_if_little(
    delta: jax.Array, write: jax.Array, stream: jax.Array, sigma: jax.Array, floor: jax.Array
) -> jax.Array:
    vector = _from_vector(write, stream, sigma, floor)
    return jnp.where(delta < NEARLY_NOTHING_LEFT - 1, vector, _rescale(delta, floor))


def _from_vector(write: jax.Array, stream: jax.Array, sigma: jax.Array, floor: jax.Array) -> jax.Array:
    """σ/σ′ − 1 with σ′ of the stream less the write."""
    left = jnp.mean(jnp.square(stream - write), axis=-1) / jnp.square(sigma) + floor
    return jax.lax.rsqrt(left) - 1


def _change(wx: jax.Array, ww: jax.Array, sigma: jax.Array, d_model: int) -> jax.Array:
    """δ = σ′²/σ² − 1."""
    return (ww - 2 * wx) / (d_model * jnp.square(sigma))


def _rescale(delta: jax.Array, floor: jax.Array) -> jax.Array:
    """σ/σ′ − 1 = (1+δ)^−½ − 1, with 1+δ at least ε/σ²."""
    # 1/s − 1 = (1 − s²) / (s + s²) with s² = 1 + δ, so that a tiny δ keeps its digits.
    left = jnp.maximum(1 + delta, floor)
    lost = jnp.where(1 + delta > floor, -delta, 1 - floor)
    return lost / (jnp.sqrt(left) + left)
