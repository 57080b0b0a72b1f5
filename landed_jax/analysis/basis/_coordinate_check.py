"""Do the largest coordinates carry the value? Keep only them, take only them away, and read again."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.basis._coordinates import Coordinates, check_fraction
from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import beta_at, landed_stream_at
from landed_jax.analysis.registry import analysis
from landed_jax.errors import LandedError
from landed_jax.nn.parameters import unembedding
from landed_jax.numerics import is_concrete
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace

CountRule = Literal["settled", "first"]


@result
class Reading(Result):
    """What a landed stream, whole or in part, gives.

    Attributes:
        value: the read's value, its offset included.
        logit, against_logit: the logits of the read's tokens (before a cap), from the product with the whole
            vocabulary; None where the read is not of a token.
        rank: the target's place among all logits: 0 is the most likely, and equal logits stand in the order of their
            ids, as ``argmax`` takes them. (A stream of zeros makes all logits equal, and ranks say nothing.) None where
            the read is not of a token.
    """

    value: Float[Array, "batch position"]
    logit: Float[Array, "batch position"] | None
    against_logit: Float[Array, "batch position"] | None
    rank: Int[Array, "batch position"] | None


@result
class CoordinateCheck(Result):
    """The same read of the whole landed stream, of the chosen coordinates alone, and of all the others.

    Attributes:
        chosen: which coordinates were chosen.
        count: how many they are.
    """

    whole: Reading
    kept: Reading
    ablated: Reading
    chosen: Bool[Array, "batch position d_model"]
    count: Int[Array, "batch position"]


@analysis(example=lambda trace: {"count": 5})
def check_coordinates(
    trace: Trace,
    question: QuestionLike = None,
    *,
    fraction: float | None = None,
    count: int | Int[Array, "batch position"] | None = None,
    rule: CountRule = "settled",
) -> CoordinateCheck:
    """Keep only the largest coordinates of a value, then ablate only them, and read both remainders.

    Coordinates of the *landed* stream are set to 0, after the norm: σ is as the model had it, so the values of the two
    remainders add up to the whole. (The norm's own bias β, where it has one, is part of all three, as the read's offset
    is.) Their ranks among the whole vocabulary do not, and are what this is for.

    One ``[batch, position, vocab]`` product is alive at a time.

    Args:
        question: as for `attribute`.
        fraction: choose the largest coordinates, as many as this part of the value takes by `rule`; or
        count: choose this many, one number or one a position ``[batch, position]``.
        rule: ``"settled"`` for `Coordinates.settled_count`, ``"first"`` for `Coordinates.count`.

    Returns:
        The three readings, in units of the read's value.

    Raises:
        LandedError: unless exactly one of `fraction` and `count` is given; for a fraction outside 0 to 1, a negative
            count, and what `attribute` refuses.

    References:
        Kovaleva et al., BERT Busters: Outlier Dimensions that Disrupt Transformers, 2021 (coordinates of a norm's
        output taken away, to see what they carry).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> check = check_coordinates(trace.bind(params), count=8)
    >>> check.kept.rank, check.ablated.value
    (Array([[0, 0, 0]], dtype=int32), Array([[0., 0., 0.]], dtype=float32))
    """
    if (fraction is None) == (count is None):
        raise LandedError("Say which coordinates: give either fraction= or count=.")
    if rule not in ("settled", "first"):
        raise LandedError(f"rule={rule!r} is not a way to count: use 'settled' or 'first'.")
    if fraction is not None:
        check_fraction(fraction)
    if count is not None and is_concrete(count) and bool((np.asarray(count) < 0).any()):
        raise LandedError("A count of coordinates is 0 or more.")
    read = resolve(trace, question)
    if count is not None and jnp.ndim(count) and jnp.shape(count) != read.value.shape:
        raise LandedError(f"Counts are one number or {list(read.value.shape)}, not {list(jnp.shape(count))}.")
    landed, beta = landed_stream_at(trace, read.site), beta_at(trace, read.site)
    carried = Coordinates(landed * read.vector, read.value - read.offset)
    if fraction is not None:
        count = carried.settled_count(fraction) if rule == "settled" else carried.count(fraction)
    assert count is not None
    chosen = carried.largest(count)
    of_tokens = read.target is not None and read.site == "final"
    to_logits = unembedding(trace.weights(), trace.config) if of_tokens else None

    def reading(stream: jax.Array) -> Reading:
        value = jnp.vecdot(stream, read.vector) + read.offset
        if to_logits is None or read.target is None:
            return Reading(value, None, None, None)
        logits = to_logits.uncapped(stream if beta is None else stream + beta[None, None])
        logit = _pick(logits, read.target)
        against = None if read.against is None else _pick(logits, read.against)
        return Reading(value, logit, against, _rank(logits, logit, read.target))

    streams = jnp.stack([landed, jnp.where(chosen, landed, 0), jnp.where(chosen, 0, landed)])
    readings = jax.lax.map(reading, streams)  # one at a time: each makes a product with the vocabulary
    whole, kept, ablated = (jax.tree.map(lambda leaf, i=i: leaf[i], readings) for i in range(3))
    return CoordinateCheck(whole, kept, ablated, chosen, jnp.sum(chosen, axis=-1))


def _pick(logits: Float[Array, "batch position vocab"], ids: Int[Array, "batch position"]) -> jax.Array:
    return jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]


def _rank(
    logits: Float[Array, "batch position vocab"], logit: Float[Array, "batch position"], ids: Int[Array, "b p"]
) -> Int[Array, "batch position"]:
    vocab = jnp.arange(logits.shape[-1], dtype=ids.dtype)[None, None]
    level = (logits == logit[..., None]) & (vocab < ids[..., None])
    return jnp.sum((logits > logit[..., None]) | level, axis=-1, dtype=jnp.int32)
