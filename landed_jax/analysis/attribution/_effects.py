"""What a value loses at its own norm without one write: σ recomputed, all other writes as they ran."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._lost_vectors import little_left, lost_vectors
from landed_jax.analysis.attribution._output_removal import output_removal
from landed_jax.analysis.attribution._reader import Reader, reader_of
from landed_jax.analysis.reads._read import Read
from landed_jax.analysis.writes._projections import from_layers, only_before, squared_norms
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.scale_change import NEARLY_NOTHING_LEFT, change, rescale
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.trace import Trace


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
    delta = change(write_dot_stream, write_dot_write, sigma, d_model)
    return (landed - value) * rescale(delta, eps / jnp.square(sigma))


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
    return _of_trace(trace, site, with_stream, None, Reader.of(trace, site), norms)


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
    return _of_trace(trace, read.site, with_stream, landed, reader_of(trace, read), norms)


def layer_mediated(writes: LayerWrites, landed: PerWrite, with_stream: PerWrite, reader: Reader) -> PerWrite:
    """`mediated` of one layer's writes, inside the layer loop."""
    removed = _removed(writes, landed, with_stream, reader)
    exact = jax.lax.cond(
        little_left(removed.least),
        lambda: _from_vectors(writes, removed.least, reader),
        lambda: _Exact.none(removed.least),
    )
    return _with_exact(removed, landed, exact, reader)


def embedding_mediated(
    written: Float[Array, "batch position d_model"], landed: Float[Array, "batch position"] | None, reader: Reader
) -> Float[Array, "batch position"]:
    """`mediated` of one of the writes before the layers; without `landed`, `rescaling` of it."""
    heard = reader.hears(written)
    with_stream, square = (jnp.vecdot(heard, other) for other in (reader.stream, heard))
    delta = reader.change(with_stream, square, reader.sigma)
    return _chosen(delta, reader.exact(written), reader.closed(delta, landed, False))


class _Removed(NamedTuple):
    """What the stream loses with each write.

    Attributes:
        change: δ of the read's σ.
        least: the smaller of that and the change of the output norm's own: where little is left, digits are lost.
        landed: the landed contribution of what is lost, which differs from the write's behind an output norm.
    """

    change: PerWrite
    least: PerWrite
    landed: PerWrite | None


def _removed(writes: LayerWrites, landed: PerWrite | None, with_stream: PerWrite, reader: Reader) -> _Removed:
    """Of one layer."""
    behind = output_removal(writes)
    if behind is None:
        heard = writes.centred() if reader.centres else writes
        delta = with_stream.map(reader.change, heard.squared_norms(), reader.sigma)
        return _Removed(delta, delta, landed)
    lost = behind.lost(with_stream, reader.stream)
    delta = lost.map(reader.change, behind.lost_squares(writes), reader.sigma)
    least = delta.map(jnp.minimum, behind.change)
    if landed is None or reader.vector is None:
        return _Removed(delta, least, None)
    return _Removed(delta, least, behind.lost(landed, reader.vector / reader.sigma[..., None]))


def _of_trace(
    trace: Trace,
    site: str,
    with_stream: PerWrite,
    landed: PerWrite | None,
    reader: Reader,
    norms: WeightNorms | None,
) -> PerWrite:
    mine = None if landed is None else landed.without_embedding()
    removed = _all_removed(trace, site, with_stream.without_embedding(), mine, reader, norms)

    def from_vectors() -> _Exact:
        return from_layers(trace, lambda writes, least: _from_vectors(writes, least, reader), removed.least)

    # One condition for all layers: one a layer would take twice as long to compile.
    exact = jax.lax.cond(little_left(removed.least), from_vectors, lambda: _Exact.none(removed.least))
    own = {} if landed is None else landed.embeddings
    embeddings = {
        name: embedding_mediated(written, own.get(name), reader) for name, written in trace.embeddings.items()
    }
    return dataclasses.replace(_with_exact(removed, mine, exact, reader), **embeddings)


def _all_removed(
    trace: Trace,
    site: str,
    with_stream: PerWrite,
    landed: PerWrite | None,
    reader: Reader,
    norms: WeightNorms | None,
) -> _Removed:
    """Of all layers; nothing is lost with what is written after the site."""
    if not trace.config.output_norms:
        squares = only_before(squared_norms(trace, norms), trace.config, site)
        delta = with_stream.map(reader.change, squares, reader.sigma)
        return _Removed(delta, delta, landed)

    def layer(writes: LayerWrites, landed: PerWrite | None, with_stream: PerWrite) -> _Removed:
        return _removed(writes, landed, with_stream, reader)

    found = from_layers(trace, layer, landed, with_stream, norms=norms)
    return jax.tree.map(lambda values: only_before(values, trace.config, site), found, is_leaf=_is_per_write)


def _is_per_write(node: object) -> bool:
    return isinstance(node, PerWrite)


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
    def none(cls, least: PerWrite) -> "_Exact":
        index = jnp.zeros(least.attn_bias.shape, jnp.int32)
        return cls(index, nothing := jnp.zeros_like(least.attn_bias), index, nothing, nothing, nothing)


def _from_vectors(writes: LayerWrites, least: PerWrite, reader: Reader) -> _Exact:
    found = lost_vectors(writes, least)

    def exact(write: jax.Array | None, lost: jax.Array | None) -> jax.Array:
        return jnp.zeros_like(reader.sigma) if lost is None else reader.exact(lost, None if lost is write else write)

    numbers = (exact(write, lost) for write, lost in zip(found.written, found.lost, strict=True))
    of_head, of_neuron, *of_biases = numbers
    return _Exact(found.head, of_head, found.neuron, of_neuron, *of_biases)


def _with_exact(removed: _Removed, landed: PerWrite | None, exact: _Exact, reader: Reader) -> PerWrite:
    """The closed form, for one layer or for all of them stacked, but for what leaves little behind."""

    def closed(name: str, many: bool) -> jax.Array:
        lost = None if removed.landed is None else getattr(removed.landed, name)
        found = reader.closed(getattr(removed.change, name), lost, many)
        if landed is None or lost is None or removed.landed is landed:
            return found
        return found + lost - getattr(landed, name)

    def many(name: str, index: jax.Array, number: jax.Array) -> jax.Array:
        least = getattr(removed.least, name)
        loudest = jax.nn.one_hot(index, least.shape[-1], dtype=bool)
        return jnp.where(loudest & (least < NEARLY_NOTHING_LEFT - 1), number[..., None], closed(name, True))

    def one(name: str, number: jax.Array) -> jax.Array:
        return _chosen(getattr(removed.least, name), number, closed(name, False))

    return PerWrite.of_layers(
        many("heads", exact.head, exact.of_head),
        many("neurons", exact.neuron, exact.of_neuron),
        one("attn_bias", exact.of_attn_bias),
        one("mlp_bias", exact.of_mlp_bias),
    )


def _chosen(least: jax.Array, exact: jax.Array, closed: jax.Array) -> jax.Array:
    return jnp.where(least < NEARLY_NOTHING_LEFT - 1, exact, closed)
