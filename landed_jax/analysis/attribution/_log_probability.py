"""What every write does to a token's log-probability: exactly, σ live, and to first order, σ frozen."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._effects import rescaling
from landed_jax.analysis.attribution._frozen_sigma_agreement import FrozenSigmaAgreement, compare
from landed_jax.analysis.attribution._lost_vectors import little_left, lost_vectors
from landed_jax.analysis.attribution._output_removal import output_removal
from landed_jax.analysis.attribution._reader import Reader
from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read, beta_at, gamma_at, heard_at, sigma_at
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers, inner_products
from landed_jax.errors import LandedError
from landed_jax.nn.functions import heard
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.parameters import unembedding
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.products import contract_output
from landed_jax.nn.scale_change import NEARLY_NOTHING_LEFT
from landed_jax.nn.unembedding import Unembedding
from landed_jax.results.result import Result, result, with_provenance
from landed_jax.trace import Trace, bare

# Changes of a logit, in nats, whose exponentials' sum over any vocabulary is far from float32's largest number.
_LARGE = 60.0
# Numbers of one chunk at one position: 64 MiB in float32.
_CHUNK_NUMBERS = 2**24

Heard = Callable[..., jax.Array]


@result
class LogProbability(Result):
    """A token's log-probability, and what each write does to it, in nats.

    Attributes:
        direct_effect: log-probability less the log-probability without the write at the final norm, σ recomputed and
            later layers as they ran: exact, of the direct path.
        landed: the contribution along the gradient of the log-probability with respect to the landed stream,
            ``W_U[t] − Σ_v p_v W_U[v]``, σ and p held fixed: the first order of the same.
        value: ``[batch, position]``, the model's own log-probability.
        gradient_value: the target's logit less the mean logit under p, which is what all of `landed` sums to (what a
            LayerNorm's own bias β gives to it is no write's, and taken off).
        closure_error: ``|Σ landed − gradient_value|``.
        target: ids.
        real: ``[batch, position]``, False on padding.
    """

    direct_effect: PerWrite
    landed: PerWrite
    value: Float[Array, "batch position"]
    gradient_value: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]
    target: Int[Array, "batch position"]
    real: Bool[Array, "batch position"]

    @property
    def frozen_sigma_agreement(self) -> FrozenSigmaAgreement:
        """How far `landed`, with σ and p frozen, is from `direct_effect`, over heads and over neurons."""
        found = compare(self.landed, self.direct_effect, self.real, config=self.config)
        return with_provenance(found, self.known)


@analysis(final_only=True)
def attribute_log_probability(
    trace: Trace, question: QuestionLike = None, *, chunk: int | None = None
) -> LogProbability:
    """What a token's log-probability loses at the final norm without each write, later layers as they ran.

    Without w the logits of the whole vocabulary are ``(logits − c_w) σ/σ′`` with ``c_w = W_U (w ⊙ γ) / σ``, so the
    effect is ``log Σ_v p_v exp(Δ_v − Δ_t)``, Δ being the change of the logits. It is exact for every write at every
    recorded position; a small effect keeps its digits (the sum is then taken of expm1), and a large one cannot
    overflow.

    The cost is about vocab · (d_ff + heads · head_dim) · d_model products a layer once, and as many exponentials
    without the d_model at every position: record the positions that matter (``at=[-1]``). Memory beyond the result is
    a few arrays ``[chunk, d_ff + heads · head_dim]``, one position and one layer at a time. ``grad`` computes each
    chunk twice.

    A token that is nearly certain keeps its digits in float32: everything is summed over the other tokens,
    ``Σ_{v≠t} p_v (W_U[t] − W_U[v])``, and the own term, next to which they would be rounding, is never in the sum.

    Args:
        trace: bound to its weights.
        question: a token, as for `attribute`, or a `Logit` of one; by default each position's own most likely next
            token.
        chunk: tokens of the vocabulary that are looked at together; by default as many as keep such an array at
            16 million numbers.

    Raises:
        LandedError: for a trace without weights or without the needed sites, a question that is not one token's, or a
            chunk without tokens.

    References:
        Stolfo et al., Confidence Regulation Neurons in Language Models, 2024, arXiv:2406.16254 (what neurons do to a
        token's probability by way of the final norm's scale).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> found = attribute_log_probability(trace.bind(params), 3)
    >>> bool(jnp.allclose(found.value, jax.nn.log_softmax(logits)[..., 3], atol=1e-5))
    True
    >>> found.direct_effect.neurons.shape, bool(found.closure_error.max() < 1e-5)
    ((2, 1, 3, 12), True)
    """
    if chunk is not None and chunk < 1:
        raise LandedError(f"A chunk of the vocabulary holds at least one token, not {chunk}.")
    config = trace.config
    neurons = max(config.n_experts * config.d_ff, config.n_neurons)
    chunk = min(chunk or max(_CHUNK_NUMBERS // (neurons + config.n_heads * config.head_dim), 1), config.vocab_size)
    read = resolve(trace, question)
    if read.target is None or read.against is not None:
        raise LandedError("A log-probability is one token's: ask for a token, or Logit(token).")
    kept = dataclasses.replace(bare(trace), logits=trace.logits)
    return _log_probability(kept, read.target, chunk=chunk)


def vocabulary_chunk(
    rows: Float[Array, "vocab *shape"], start: Int[Array, ""], chunk: int
) -> tuple[Float[Array, "chunk *shape"], Bool[Array, " chunk"]]:
    """A slice along the vocabulary, and which of its tokens no earlier chunk held: the last slice reaches back.

    >>> rows, fresh = vocabulary_chunk(jnp.arange(5.0), jnp.array(4), 2)
    >>> rows.tolist(), fresh.tolist()
    ([3.0, 4.0], [False, True])
    """
    first = jnp.minimum(start, rows.shape[0] - chunk)
    return jax.lax.dynamic_slice_in_dim(rows, first, chunk), first + jnp.arange(chunk) >= start


class _Others(NamedTuple):
    """Every other token than the target, as it stands beside it; the target's own place holds what adds nothing.

    Attributes:
        gap: the logits less the target's, 0 at the target; of both what β gives to them is taken off.
        log_p: the log-probabilities, −∞ at the target.
        target: the target's own log-probability.
        is_target: where the target is.
    """

    gap: Float[Array, "batch position vocab"]
    log_p: Float[Array, "batch position vocab"]
    target: Float[Array, "batch position"]
    is_target: Bool[Array, "batch position vocab"]


def _beside_target(
    logits: Float[Array, "batch position vocab"],
    target: Int[Array, "batch position"],
    of_beta: Float[Array, " vocab"] | None,
) -> _Others:
    """The logits of the other tokens, against the target's.

    Where the target is nearly certain, all that is said of it is a sum over the other tokens of small probabilities:
    the target's own term is never in such a sum, for what it would leave after its subtraction is rounding.
    """
    is_target = jax.nn.one_hot(target, logits.shape[-1], dtype=bool)
    written = _less(logits, of_beta)
    gap = jnp.where(is_target, 0, written - _at(written, target)[..., None])
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
    shifted = logits - largest[..., None]
    others = jnp.sum(jnp.where(is_target, 0, jnp.exp(shifted)), axis=-1)
    mine = _at(shifted, target)
    own = jnp.exp(mine)
    likely = others <= own
    total = jnp.log(own + others)
    certain = jnp.log1p(jnp.where(likely, others / jnp.where(likely, own, 1), 0))
    log_p = jnp.where(is_target, -jnp.inf, shifted - total[..., None])
    return _Others(gap, log_p, jnp.where(likely, -certain, mine - total), is_target)


@partial(by_layers, static=("chunk",))
def _log_probability(trace: Trace, target: Int[Array, "batch position"], *, chunk: int) -> LogProbability:
    to_logits = unembedding(trace.weights(), trace.config)
    uncapped = None
    if to_logits.cap is not None:
        uncapped = to_logits.uncapped(trace[HookPoint.FINAL_NORMED])
        logits = to_logits.capped(uncapped)
    else:
        logits = trace.logits if trace.logits is not None else to_logits.logits(trace[HookPoint.FINAL_NORMED])
    beta = beta_at(trace, "final")
    of_beta = None if beta is None else to_logits.uncapped(beta[None])[0]
    others = _beside_target(logits, target, of_beta)
    read = _gradient(others, to_logits, uncapped, of_beta, target)
    first_order = attribute(trace, read, effects=False)
    return LogProbability(
        direct_effect=_effects(trace, target, others, uncapped, of_beta, chunk),
        landed=first_order.landed,
        value=others.target,
        gradient_value=first_order.value,
        closure_error=first_order.closure_error,
        target=target,
        real=trace.real,
    )


def _gradient(
    others: _Others,
    to_logits: Unembedding,
    uncapped: jax.Array | None,
    of_beta: Float[Array, " vocab"] | None,
    target: Int[Array, "batch position"],
) -> Read:
    """``Σ_{v≠t} p_v (s_t W_U[t] − s_v W_U[v])``, s being the slope of the cap (1 without one), in one product.

    The value is that of the writes alone: what β gives to it is taken off.
    """
    p = jnp.exp(others.log_p)
    if uncapped is None:
        # The target's own weight is the sum of the others'.
        weights = jnp.where(others.is_target, jnp.sum(p, axis=-1, keepdims=True), -p)
        value = -jnp.sum(p * others.gap, axis=-1)
    else:
        slope, written = to_logits.slope(uncapped), _less(uncapped, of_beta)
        mine = _at(slope, target)
        weights = jnp.where(others.is_target, (mine * jnp.sum(p, axis=-1))[..., None], -p * slope)
        value = jnp.sum(p * ((mine * _at(written, target))[..., None] - slope * written), axis=-1)
    vector = to_logits.scaled(contract_output(weights, to_logits.W_U))
    return Read(vector, value, jnp.zeros((1, 1), value.dtype))


def _effects(
    trace: Trace,
    target: Int[Array, "batch position"],
    others: _Others,
    uncapped: jax.Array | None,
    of_beta: Float[Array, " vocab"] | None,
    chunk: int,
) -> PerWrite:
    """Every write's exact effect, the vocabulary streamed."""
    config, to_logits = trace.config, unembedding(trace.weights(), trace.config)
    sigma, gamma = sigma_at(trace, "final"), gamma_at(trace, "final")
    lost = rescaling(trace, "final", inner_products(trace, heard_at(trace, "final")))
    seen = heard(to_logits.rows(target, gamma.dtype) * gamma[None, None], config) / sigma[..., None]
    at_target = inner_products(trace, seen)
    of_target = None if uncapped is None else (_at(uncapped, target), _at(_less(uncapped, of_beta), target))
    tokens = (others.gap, others.log_p, others.target, sigma, uncapped, of_target)

    def read_by(rows: Float[Array, "chunk d_model"]) -> Float[Array, "chunk d_model"]:
        return heard(to_logits.scaled(rows.astype(gamma.dtype)) * gamma[None], config)

    reader = Reader.of(trace, "final")
    streamed = partial(_streamed, to_logits, read_by, of_beta, tokens, chunk)

    def layer(writes: LayerWrites, at_target: PerWrite, lost: PerWrite) -> PerWrite:
        behind = output_removal(writes)
        if behind is None:
            effect = streamed(writes.along, writes.factors, at_target.flat(), lost.flat())
        else:
            mine = behind.lost(at_target, seen)
            effect = streamed(behind.along(writes), behind.factors(writes), mine.flat(), lost.flat())
            effect = with_loudest(writes, behind.change, effect)
        return PerWrite.from_flat(effect, config.n_heads)

    def with_loudest(writes: LayerWrites, change: PerWrite, effect: jax.Array) -> jax.Array:
        """The effects of what is nearly all that an output norm scales, from the vectors."""

        def from_vectors() -> jax.Array:
            found = lost_vectors(writes, change)
            nothing = jnp.zeros_like(found.lost[0])
            vectors = jnp.stack([nothing if vector is None else vector for vector in found.lost], axis=-2)
            scales = jnp.stack([reader.exact(vectors[..., i, :]) for i in range(4)], axis=-1)
            exact = streamed(_product, (vectors,), jnp.vecdot(vectors, seen[..., None, :]), scales)
            head, neuron = (
                jax.nn.one_hot(index, delta.shape[-1], dtype=bool)
                for index, delta in ((found.head, change.heads), (found.neuron, change.neurons))
            )
            there = jnp.ones(head.shape[:2], bool)
            loudest = PerWrite.of_layers(head, neuron, there, there).flat()
            of_head, of_neuron = (jnp.where(mask, exact[..., i, None], 0) for i, mask in enumerate((head, neuron)))
            of_all = PerWrite.of_layers(of_head, of_neuron, exact[..., 2], exact[..., 3]).flat()
            return jnp.where(loudest & (change.flat() < NEARLY_NOTHING_LEFT - 1), of_all, effect)

        return jax.lax.cond(little_left(change), from_vectors, lambda: effect)

    def embedding_heard_by(rows: Float[Array, "chunk d_model"]) -> Heard:
        return lambda embedding: (rows @ embedding)[:, None]

    of_layers = (numbers.without_embedding() for numbers in (at_target, lost))
    layers = from_layers(trace, layer, *of_layers)
    embeddings = {}
    for name, written in trace.embeddings.items():
        alone = (numbers.embeddings[name][..., None] for numbers in (at_target, lost))
        embeddings[name] = streamed(embedding_heard_by, (written,), *alone)[..., 0]
    return dataclasses.replace(layers, **embeddings)


def _streamed(
    to_logits: Unembedding,
    read_by: Callable[[jax.Array], jax.Array],
    of_beta: Float[Array, " vocab"] | None,
    tokens: tuple[Any, ...],
    chunk: int,
    heard_by: Callable[[jax.Array], Heard],
    factors: tuple[jax.Array, ...],
    at_target: Float[Array, "batch position write"],
    lost: Float[Array, "batch position write"],
) -> Float[Array, "batch position write"]:
    """``log Σ_v p_v exp(Δ_v − Δ_t)`` for every write, a chunk of the vocabulary at a time.

    Args:
        read_by: from rows of ``W_U`` to what meets the writes: scaled, γ folded in, under LayerNorm without the mean.
        of_beta: what β gives to each token's logit; None where there is none.
        tokens: of the other tokens the logits less the target's and the log-probabilities (`_Others`), the target's own
            log-probability, and σ; of all tokens the logits before the cap, and the target's, whole and less what β
            gives to it, where there is a cap.
        heard_by: takes such rows to a function from one position's factors to ``[chunk, write]``, the
            products of its writes with the rows.
        at_target: each write's landed contribution to the target's logit.
        lost: σ/σ′ − 1.
    """
    shape = at_target.shape
    flat = jax.tree.map(lambda value: value.reshape(-1, *value.shape[2:]), (tokens, factors, at_target, lost))
    (_, _, log_p_target, *_), _, at_target, _ = flat

    def step(carry: _Sums, start: jax.Array) -> tuple[_Sums, None]:
        rows, fresh = vocabulary_chunk(to_logits.W_U, start, chunk)
        products = heard_by(read_by(rows))
        more = None if of_beta is None else vocabulary_chunk(of_beta, start, chunk)[0][:, None]

        def position(now: tuple[_Sums, tuple]) -> _Sums:
            sums, ((gap, log_p, _, sigma, uncapped, of_target), factors, at_target, lost) = now
            gap, log_p = (vocabulary_chunk(row, start, chunk)[0][:, None] for row in (gap, log_p))
            if uncapped is None:
                contribution = products(*factors) / sigma - at_target[None]
                change = gap * lost[None] - contribution * (1 + lost[None])
            else:
                before, (whole, written) = vocabulary_chunk(uncapped, start, chunk)[0][:, None], of_target
                of_writes = before if more is None else before - more
                moved = of_writes * lost[None] - products(*factors) / sigma * (1 + lost[None])
                of_target_moved = written * lost - at_target * (1 + lost)
                change = to_logits.capped_change(before, moved)
                change = change - to_logits.capped_change(whole, of_target_moved)[None]
            # Neither a token that an earlier chunk held nor the target itself, whose change is 0 and not its rounding.
            counted = fresh[:, None] & (log_p > -jnp.inf)
            return sums.add(jnp.where(counted, change, 0), jnp.where(counted, log_p, -jnp.inf))

        return jax.lax.map(position, (carry, flat)), None

    nothing = jnp.zeros_like(at_target)
    # The target's own term stands in the sum from the start, under itself as the largest.
    own = log_p_target[:, None] - jax.lax.stop_gradient(log_p_target)[:, None]
    start = _Sums(nothing + jax.lax.stop_gradient(log_p_target)[:, None], nothing + jnp.exp(own), nothing, nothing)
    sums, _ = jax.lax.scan(jax.checkpoint(step), start, jnp.arange(0, to_logits.W_U.shape[0], chunk))
    return sums.logarithm().reshape(shape)


def _product(rows: Float[Array, "chunk d_model"]) -> Heard:
    return lambda vectors: rows @ vectors.T


class _Sums(NamedTuple):
    """``Σ p exp(change)`` two ways: held under its largest term, and less the 1 that it is without any change."""

    pivot: jax.Array
    total: jax.Array  # Σ exp(log p + change − pivot)
    excess: jax.Array  # Σ p expm1(change), while no change is large
    largest: jax.Array

    def add(self, change: Float[Array, "chunk write"], log_p: Float[Array, "chunk 1"]) -> "_Sums":
        term = log_p + change
        pivot = jnp.maximum(self.pivot, jax.lax.stop_gradient(jnp.max(term, axis=0)))
        total = self.total * jnp.exp(self.pivot - pivot) + jnp.sum(jnp.exp(term - pivot[None]), axis=0)
        excess = self.excess + jnp.sum(jnp.exp(log_p) * jnp.expm1(jnp.minimum(change, _LARGE)), axis=0)
        return _Sums(pivot, total, excess, jnp.maximum(self.largest, jnp.max(change, axis=0)))

    def logarithm(self) -> jax.Array:
        small = (self.largest <= _LARGE) & (self.excess > -0.5)
        return jnp.where(small, jnp.log1p(jnp.maximum(self.excess, -0.5)), self.pivot + jnp.log(self.total))


def _less(logits: Float[Array, "batch position vocab"], of_beta: Float[Array, " vocab"] | None) -> jax.Array:
    """The logits that the writes alone make."""
    return logits if of_beta is None else logits - of_beta[None, None]


def _at(values: Float[Array, "batch position vocab"], ids: Int[Array, "batch position"]) -> jax.Array:
    return jnp.take_along_axis(values, ids[..., None], axis=-1)[..., 0]
