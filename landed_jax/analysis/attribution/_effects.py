"""What a value loses at its own norm without one write: σ recomputed, all other writes as they ran."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads._read import Read, folded, residual_at, sigma_at
from landed_jax.analysis.writes._projections import from_layers, only_before, squared_norms
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.weight_norms import WeightNorms
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
    grows as σ²/σ′². `removal` and `mediated` do without the closed form there.

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


def rescaling(trace: Trace, site: str, with_stream: PerWrite, norms: WeightNorms | None = None) -> PerWrite:
    """``σ/σ′ − 1`` for every write before a read site, σ′ being the scale without the write; 0 for later writes.

    A value that the site's norm hears is (value − landed) · (1 + rescaling) without the write. (`mediated` is better
    where it is one value's.)

    Args:
        with_stream: ``⟨w_u, x⟩`` for the writes before the site, 0 for later ones.
        norms: `weight_norms` of the weights, where they were made before.

    Raises:
        LandedError: for a trace without weights, or a site before the final norm without `RESIDUALS`.
    """
    reader = _Reader.of(residual_at(trace, site), sigma_at(trace, site), trace.config.norm_eps)
    return _of_trace(trace, site, with_stream, None, reader, norms)


def mediated(
    trace: Trace, read: Read, landed: PerWrite, with_stream: PerWrite, norms: WeightNorms | None = None
) -> PerWrite:
    """``(landed − value) (σ/σ′ − 1)`` for every write: its direct effect less its landed contribution.

    The closed form's relative error is about ``ε_float σ²/σ′²``: harmless, except for a write that is nearly the whole
    stream (the embedding at early sites, one neuron at a token of massive norm). For the embedding, the biases, and
    in every layer the head and the neuron that leave least behind, σ′ and the value without the write are then taken
    from the vector x − w, and the error is that of its coordinates, at most about ``ε_float σ/σ′`` (`group_effect` of
    that one write has none of it). Where no head or neuron comes near, that costs a minimum and nothing else; where one
    does, a product with each layer's heads.

    Args:
        landed: landed contributions, and
        with_stream: ``⟨w_u, x⟩``, for the writes before the read's site; 0 for later ones.
        norms: `weight_norms` of the weights, where they were made before.

    Raises:
        LandedError: for a trace without weights, or a site before the final norm without `RESIDUALS`.
    """
    reader = reader_of(trace, read)
    return _of_trace(trace, read.site, with_stream, landed, reader, norms)


def layer_mediated(writes: LayerWrites, landed: PerWrite, with_stream: PerWrite, reader: "_Reader") -> PerWrite:
    """`mediated` of one layer's writes, inside the layer loop."""
    change = with_stream.map(_change_at(reader), writes.squared_norms(), reader.sigma)
    exact = jax.lax.cond(
        _little_left(change), lambda: _from_vectors(writes, change, reader), lambda: _Exact.none(change)
    )
    return _with_exact(change, landed, exact, reader)


def embedding_mediated(
    embedding: Float[Array, "batch position d_model"], landed: Float[Array, "batch position"], reader: "_Reader"
) -> Float[Array, "batch position"]:
    """`mediated` of the embedding."""
    products = (jnp.vecdot(embedding, other) for other in (reader.stream, embedding))
    return _of_one(_change_at(reader)(*products, reader.sigma), landed, reader.exact(embedding), reader)


class _Reader(NamedTuple):
    """The stream that a norm reads, and what is read from it: a value, or (None) its scale alone.

    Attributes:
        floor: ``ε/σ²``.
        value: less the reader's own offset.
        vector: what reads the stream, γ folded in.
    """

    stream: Float[Array, "batch position d_model"]
    sigma: Float[Array, "batch position"]
    floor: Float[Array, "batch position"]
    value: Float[Array, "batch position"] | None
    vector: Float[Array, "_ _ d_model"] | None

    @classmethod
    def of(cls, stream: jax.Array, sigma: jax.Array, eps: float, value: Any = None, vector: Any = None) -> "_Reader":
        return cls(stream, sigma, eps / jnp.square(sigma), value, vector)

    def closed(self, delta: jax.Array, landed: jax.Array | None, many: bool) -> jax.Array:
        """From δ: the closed form. With `many`, for an axis of writes behind the positions'."""

        def beside(number: jax.Array) -> jax.Array:
            return left_broadcast(number[..., None] if many else number, delta)

        lost = _rescale(delta, beside(self.floor))
        return lost if landed is None or self.value is None else (landed - beside(self.value)) * lost

    def exact(self, write: Float[Array, "_ _ d_model"]) -> Float[Array, "batch position"]:
        """The same from the stream less the write."""
        left = self.stream - write
        lost = jax.lax.rsqrt(jnp.mean(jnp.square(left), axis=-1) / jnp.square(self.sigma) + self.floor) - 1
        return lost if self.vector is None else -jnp.vecdot(left, self.vector) / self.sigma * lost


def reader_of(trace: Trace, read: Read) -> _Reader:
    """What `layer_mediated` and `embedding_mediated` need of a read."""
    stream, sigma = residual_at(trace, read.site), sigma_at(trace, read.site)
    return _Reader.of(stream, sigma, trace.config.norm_eps, read.value - read.offset, folded(trace, read))


def _of_trace(
    trace: Trace,
    site: str,
    with_stream: PerWrite,
    landed: PerWrite | None,
    reader: _Reader,
    norms: WeightNorms | None,
) -> PerWrite:
    of_writes = only_before(squared_norms(trace, norms), trace.config, site)
    change = with_stream.map(_change_at(reader), of_writes, reader.sigma)
    of_layers, mine = change.without_embedding(), None if landed is None else landed.without_embedding()

    def from_vectors() -> _Exact:
        return from_layers(trace, lambda writes, change: _from_vectors(writes, change, reader), of_layers)

    # One condition for all layers: one a layer would take twice as long to compile.
    exact = jax.lax.cond(_little_left(of_layers), from_vectors, lambda: _Exact.none(of_layers))
    own = None if landed is None else landed.embedding
    embedding = _of_one(change.embedding, own, reader.exact(trace[HookPoint.EMBEDDING]), reader)
    return dataclasses.replace(_with_exact(of_layers, mine, exact, reader), embedding=embedding)


def _little_left(change: PerWrite) -> jax.Array:
    """Whether any write is nearly the whole stream."""
    return jnp.stack([jnp.min(delta) for delta in jax.tree.leaves(change)]).min() < NEARLY_NOTHING_LEFT - 1


class _Exact(NamedTuple):
    """From the vectors: of the head and the neuron that leave least behind, which they are; and of the biases.

    A few numbers a layer and position: what is as large as the writes stays outside of the condition.
    """

    head: Int[Array, "*layer batch position"]
    of_head: Float[Array, "*layer batch position"]
    neuron: Int[Array, "*layer batch position"]
    of_neuron: Float[Array, "*layer batch position"]
    of_attn_bias: Float[Array, "*layer batch position"]
    of_mlp_bias: Float[Array, "*layer batch position"]

    @classmethod
    def none(cls, change: PerWrite) -> "_Exact":
        index = jnp.zeros(change.attn_bias.shape, jnp.int32)
        return cls(index, nothing := jnp.zeros_like(change.attn_bias), index, nothing, nothing, nothing)


def _from_vectors(writes: LayerWrites, change: PerWrite, reader: _Reader) -> _Exact:
    head, neuron = (jnp.argmin(delta, axis=-1).astype(jnp.int32) for delta in (change.heads, change.neurons))
    of_biases = (jnp.zeros_like(reader.sigma) if bias is None else reader.exact(bias) for bias in writes.biases())
    return _Exact(head, reader.exact(writes.head(head)), neuron, reader.exact(writes.neuron(neuron)), *of_biases)


def _with_exact(change: PerWrite, landed: PerWrite | None, exact: _Exact, reader: _Reader) -> PerWrite:
    """The closed form, for one layer or for all of them stacked, but for what leaves little behind."""

    def many(name: str, index: jax.Array, number: jax.Array) -> jax.Array:
        delta = getattr(change, name)
        loudest = jax.nn.one_hot(index, delta.shape[-1], dtype=bool)
        closed = reader.closed(delta, None if landed is None else getattr(landed, name), True)
        return jnp.where(loudest & (delta < NEARLY_NOTHING_LEFT - 1), number[..., None], closed)

    def one(name: str, number: jax.Array) -> jax.Array:
        return _of_one(getattr(change, name), None if landed is None else getattr(landed, name), number, reader)

    return PerWrite.of_layers(
        many("heads", exact.head, exact.of_head),
        many("neurons", exact.neuron, exact.of_neuron),
        one("attn_bias", exact.of_attn_bias),
        one("mlp_bias", exact.of_mlp_bias),
    )


def _of_one(delta: jax.Array, landed: jax.Array | None, exact: jax.Array, reader: _Reader) -> jax.Array:
    return jnp.where(delta < NEARLY_NOTHING_LEFT - 1, exact, reader.closed(delta, landed, False))


def _change_at(reader: _Reader) -> Callable[..., jax.Array]:
    return lambda wx, ww, sigma: _change(wx, ww, sigma, reader.stream.shape[-1])


def _change(wx: jax.Array, ww: jax.Array, sigma: jax.Array, d_model: int) -> jax.Array:
    """δ = σ′²/σ² − 1."""
    return (ww - 2 * wx) / (d_model * jnp.square(sigma))


def _rescale(delta: jax.Array, floor: jax.Array) -> jax.Array:
    """σ/σ′ − 1 = (1+δ)^−½ − 1, with 1+δ at least ε/σ²."""
    # 1/s − 1 = (1 − s²) / (s + s²) with s² = 1 + δ, so that a tiny δ keeps its digits.
    left = jnp.maximum(1 + delta, floor)
    lost = jnp.where(1 + delta > floor, -delta, 1 - floor)
    return lost / (jnp.sqrt(left) + left)
