"""How neurons regulate confidence: what their last write does to the entropy by way of the final norm's scale."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._log_probability import vocabulary_chunk
from landed_jax.analysis.attribution._reader import Reader
from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import beta_at, gamma_at
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.functions import heard
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.parameters import unembedding
from landed_jax.nn.scale_change import rescale
from landed_jax.nn.unembedding import Unembedding
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare

# Changes of a logit, in nats, whose exponentials are far from float32's largest number.
_LARGE = 60.0
# Below any log-probability, and a number: the difference of two is none of infinities.
_LEAST = -1e30
# Numbers of one chunk at one position: 16 MiB in float32.
_CHUNK_NUMBERS = 2**22


@result
class ConfidenceEffects(Result):
    """What each neuron's write at the final norm does to the distribution: the model's own less that without it.

    Attributes:
        entropy: in nats, the final σ recomputed: positive where the neuron makes the model less certain.
        entropy_frozen: the same with σ held: by what the write says itself.
        log_probability, log_probability_frozen: of the target, likewise.
        value: ``[batch, position]``, the model's own entropy.
        target: ids.
        layers: which layers the axis ``layer`` has.
    """

    entropy: Float[Array, "layer batch position neuron"]
    entropy_frozen: Float[Array, "layer batch position neuron"]
    log_probability: Float[Array, "layer batch position neuron"]
    log_probability_frozen: Float[Array, "layer batch position neuron"]
    value: Float[Array, "batch position"]
    target: Int[Array, "batch position"]
    layers: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def entropy_mediated(self) -> Float[Array, "layer batch position neuron"]:
        """By way of σ: ``entropy − entropy_frozen``."""
        return self.entropy - self.entropy_frozen

    @property
    def log_probability_mediated(self) -> Float[Array, "layer batch position neuron"]:
        """By way of σ: ``log_probability − log_probability_frozen``."""
        return self.log_probability - self.log_probability_frozen


@analysis(final_only=True, example=lambda trace: {"layers": [0, 1]})
def confidence_effects(
    trace: Trace,
    question: QuestionLike = None,
    *,
    layers: Sequence[int] = (-1,),
    mean: Float[Array, "layer *expert neuron"] | None = None,
) -> ConfidenceEffects:
    """What replacing each neuron's write by its mean, or by 0, does at the final norm, σ live and σ frozen.

    The write is exchanged in the stream that the final norm reads, later layers as they ran: for the last layer's
    neurons that is the total effect. The distribution without it is exact, in closed form, with no further pass: the
    logits are ``(l − c) σ/σ′`` where c is the exchanged write's own contribution. Under an output norm it is the write
    behind that norm, whose σ′ is held.

    Each layer takes a few times vocab · d_ff exponentials at every position, and vocab · d_ff · d_model products once:
    record the positions that matter (``at=[-1]``).

    Args:
        trace: bound to its weights.
        question: a token, for its log-probability; by default each position's own most likely next token.
        layers: whose neurons, from the first or (negative) from the last layer.
        mean: each neuron's mean activation, ``[layer, neuron]`` of all layers (of experts ``[layer, expert, neuron]``,
            the expert's weight included; one that a position did not choose writes nothing there). By default 0.

    Raises:
        LandedError: for a trace without weights or without the needed sites, a question that is not one token's, layers
            that are not there, or means of another shape.

    References:
        Stolfo et al., Confidence Regulation Neurons in Language Models, 2024, arXiv:2406.16254 (total against direct
        effect, the final norm's scale frozen); Gurnee et al., Universal Neurons in GPT2 Language Models, 2024,
        arXiv:2401.12181 (entropy neurons).

    >>> from landed_jax.testbed import null_space_neuron
    >>> found = confidence_effects(null_space_neuron(neuron=5).trace(), layers=[-1])
    >>> loudest = abs(found.entropy_mediated[0, 0, -1]).argmax()
    >>> int(loudest), float(found.entropy_frozen[0, 0, -1, 5])
    (5, 0.0)
    """
    chosen = _layers(layers, trace.config)
    read = resolve(trace, question)
    if read.target is None or read.against is not None:
        raise LandedError("A log-probability is one token's: ask for a token, or Logit(token).")
    if mean is not None and mean.shape != (wanted := _shape(trace.config)):
        raise LandedError(f"The mean activations have the shape {list(wanted)}, not {list(np.shape(mean))}.")
    effects, entropy = _confidence(bare(trace), read.target, mean, layers=chosen)
    return ConfidenceEffects(*effects, entropy, read.target, chosen)


def _layers(layers: Sequence[int], config: ModelConfig) -> tuple[int, ...]:
    for layer in layers:
        if not -config.n_layers <= layer < config.n_layers:
            raise LandedError(f"There is no layer {layer}: they run from 0 to {config.n_layers - 1}.")
    chosen = tuple(sorted({layer % config.n_layers for layer in layers}))
    if not chosen:
        raise LandedError("Confidence effects are of the neurons of at least one layer.")
    return chosen


def _shape(config: ModelConfig) -> tuple[int, ...]:
    return (config.n_layers, *((config.n_experts,) if config.n_experts else ()), config.d_ff)


class _Effects(NamedTuple):
    """As in `ConfidenceEffects`."""

    entropy: jax.Array
    entropy_frozen: jax.Array
    log_probability: jax.Array
    log_probability_frozen: jax.Array


class _Tokens(NamedTuple):
    """Of each token of the vocabulary, at the positions: what the writes make of its logit, and its log-probability.

    Attributes:
        written: its logit before a cap, less what β gives to it.
        uncapped: the same with it.
        apart: its log-probability less the mean under p, so that an entropy's small change is no difference of sums.
    """

    written: Float[Array, "batch position vocab"]
    uncapped: Float[Array, "batch position vocab"]
    log_p: Float[Array, "batch position vocab"]
    apart: Float[Array, "batch position vocab"]


@partial(by_layers, static=("layers",))
def _confidence(
    trace: Trace, target: Int[Array, "batch position"], mean: jax.Array | None, *, layers: tuple[int, ...]
) -> tuple[_Effects, jax.Array]:
    config, to_logits = trace.config, unembedding(trace.weights(), trace.config)
    beta, reader = beta_at(trace, "final"), Reader.of(trace, "final")
    uncapped = to_logits.uncapped(trace[HookPoint.FINAL_NORMED])
    written = uncapped if beta is None else uncapped - to_logits.uncapped(beta[None])[:, None]
    log_p = jax.nn.log_softmax(to_logits.capped(uncapped), axis=-1)
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
    tokens = _Tokens(written, uncapped, log_p, log_p + entropy[..., None])

    def changed(writes: LayerWrites, mean: jax.Array | None) -> _Effects:
        if mean is not None:
            writes = dataclasses.replace(writes, a=writes.a - writes.columns.looked_up(mean.astype(writes.a.dtype)))
        with_stream, squares = writes.inner_products(reader.stream).neurons, writes.squared_norms().neurons
        delta = reader.change(with_stream, squares, reader.sigma[..., None])
        lost = rescale(delta, reader.floor[..., None])
        return _effects(writes, lost, reader.sigma, gamma_at(trace, "final"), tokens, target, to_logits, config)

    def layer(writes: LayerWrites, wanted: jax.Array, *mean: jax.Array) -> _Effects:
        nothing = _Effects(*(jnp.zeros_like(writes.a),) * 4)
        return jax.lax.cond(wanted, lambda: changed(writes, mean[0] if mean else None), lambda: nothing)

    wanted = jnp.asarray(np.isin(np.arange(config.n_layers), layers))
    found = from_layers(trace, layer, wanted, *(() if mean is None else (mean,)), heard=True)
    return jax.tree.map(lambda numbers: numbers[np.array(layers)], found), entropy


def _effects(
    writes: LayerWrites,
    lost: Float[Array, "batch position neuron"],
    sigma: Float[Array, "batch position"],
    gamma: Float[Array, " d_model"],
    tokens: _Tokens,
    target: Int[Array, "batch position"],
    to_logits: Unembedding,
    config: ModelConfig,
) -> _Effects:
    """The effects of all neurons of a layer."""
    chunk = min(max(_CHUNK_NUMBERS // config.n_neurons, 1), config.vocab_size)
    neurons = slice(config.n_heads, config.n_heads + config.n_neurons)
    rows = to_logits.rows(target, gamma.dtype) * gamma[None, None]
    at_target = writes.inner_products(heard(rows, config)).neurons / sigma[..., None]
    places = target[..., None]
    own = tuple(jnp.take_along_axis(part, places, axis=-1) for part in (tokens.written, tokens.uncapped))
    each = (tokens, writes.factors, sigma, lost, at_target, own, target)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), each)

    def step(sums: tuple[_Sums, _Sums], start: jax.Array) -> tuple[tuple[_Sums, _Sums], None]:
        rows, fresh = vocabulary_chunk(to_logits.W_U, start, chunk)
        products = writes.along(heard(to_logits.scaled(rows.astype(gamma.dtype)) * gamma[None], config))
        ids, _ = vocabulary_chunk(jnp.arange(config.vocab_size, dtype=target.dtype), start, chunk)

        def position(now: tuple[tuple[_Sums, _Sums], tuple]) -> tuple[_Sums, _Sums]:
            (live, frozen), (tokens, factors, sigma, lost, at_target, own, target) = now
            some = _Tokens(*(vocabulary_chunk(row, start, chunk)[0][:, None] for row in tokens))
            said = products(*factors)[:, neurons] / sigma

            def moved(lost: jax.Array) -> jax.Array:
                """Each logit's change against the target's, without each neuron: 0 for the target itself."""
                change = to_logits.capped_change(some.uncapped, some.written * lost[None] - said * (1 + lost[None]))
                of_target = to_logits.capped_change(own[1], own[0] * lost - at_target * (1 + lost))
                return jnp.where((ids == target)[:, None], 0, change - of_target[None])

            log_p = jnp.where(fresh[:, None], some.log_p, -jnp.inf)
            counted = (some.apart, log_p)
            return live.add(moved(lost), *counted), frozen.add(moved(jnp.zeros_like(lost)), *counted)

        return jax.lax.map(position, (sums, flat)), None

    nothing = _Sums.none(flat[3])
    starts = jnp.arange(0, config.vocab_size, chunk)
    live, frozen = jax.lax.scan(jax.checkpoint(step), (nothing, nothing), starts)[0]
    found = (live.entropy_lost(), frozen.entropy_lost(), live.log_probability_lost(), frozen.log_probability_lost())
    return _Effects(*(numbers.reshape(lost.shape) for numbers in found))


class _Sums(NamedTuple):
    """Sums over the vocabulary, of each write, without it: under the largest term, and less what they are with it.

    Attributes:
        pivot: the largest ``log p + Δ`` so far.
        total, mean: ``Σ exp(log p + Δ − pivot)``, and the same of each term times the new ``apart + Δ``.
        largest: the largest Δ so far.
        excess: ``Σ p expm1(Δ)``, while no change is large.
        moment: ``Σ p expm1(Δ) apart + Σ p exp(Δ) Δ``, likewise.
    """

    pivot: jax.Array
    total: jax.Array
    mean: jax.Array
    largest: jax.Array
    excess: jax.Array
    moment: jax.Array

    @classmethod
    def none(cls, like: jax.Array) -> "_Sums":
        nothing = jnp.zeros_like(like)
        return cls(nothing + _LEAST, nothing, nothing, nothing, nothing, nothing)

    def add(
        self, change: Float[Array, "chunk neuron"], apart: Float[Array, "chunk 1"], log_p: Float[Array, "chunk 1"]
    ) -> "_Sums":
        p, new = jnp.exp(log_p), log_p + change
        pivot = jnp.maximum(self.pivot, jax.lax.stop_gradient(jnp.max(new, axis=0)))
        term, shrunk = jnp.exp(new - pivot[None]), jnp.exp(self.pivot - pivot)
        small = jnp.clip(change, -_LARGE, _LARGE)
        grown = p * jnp.expm1(small)
        return _Sums(
            pivot,
            self.total * shrunk + jnp.sum(term, axis=0),
            self.mean * shrunk + jnp.sum(term * (apart + change), axis=0),
            jnp.maximum(self.largest, jax.lax.stop_gradient(jnp.max(change, axis=0))),
            self.excess + jnp.sum(grown, axis=0),
            self.moment + jnp.sum(grown * apart + (grown + p) * small, axis=0),
        )

    def log_probability_lost(self) -> jax.Array:
        """``log p − log p′`` of the token against which the changes are: ``log Σ p exp(Δ)``."""
        small = self._is_small
        return jnp.where(small, jnp.log1p(jnp.where(small, self.excess, 0)), self.pivot + jnp.log(self.total))

    def entropy_lost(self) -> jax.Array:
        """The entropy with the write less that without it, ``H′ = log Σ exp(l + Δ) − mean′(l + Δ)``."""
        small = self._is_small
        excess = jnp.where(small, self.excess, 0)
        close = self.moment / (1 + excess) - jnp.log1p(excess)
        return jnp.where(small, close, self.mean / self.total - self.pivot - jnp.log(self.total))

    @property
    def _is_small(self) -> jax.Array:
        return (self.largest < 1) & (self.excess > -0.5)
