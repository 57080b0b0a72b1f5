"""What a sweep measures of each run, at the asked positions: a question, a number of the logits, or a function."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.reads._questions import Question, as_question, resolve, site_of
from landed_jax.analysis.reads._targets import Target, token_ids
from landed_jax.errors import LandedError, shown
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.unembedding import Unembedding
from landed_jax.trace import Trace


@dataclass(frozen=True)
class LogProbability:
    """The log-probability of a token (text or id; by default each position's own top token in the clean run)."""

    token: Target | None = None


@dataclass(frozen=True)
class Probability:
    """The probability of a token (text or id; by default each position's own top token in the clean run)."""

    token: Target | None = None


@dataclass(frozen=True)
class Divergence:
    """The Kullback–Leibler divergence of the run's distribution from another, in nats: KL(reference ‖ run).

    Attributes:
        reference: what the final norm put out in the run that it is measured from (`FINAL_NORMED`, in the asked
            columns); by default in the clean run of the sweep.
    """

    reference: Float[Array, "batch position d_model"] | None = None


@dataclass(frozen=True)
class Rank:
    """How many tokens have a larger logit than this one: 0 for the most likely."""

    token: Target | None = None


Measure = Question | LogProbability | Probability | Divergence | Rank | Callable[[jax.Array], jax.Array] | Target | None
"""A question at the final norm, or a token, short for its logit; one of this file's measures; or a function of the
logits ``[batch, position, vocab]`` that gives ``[batch, position]``."""

OF_A_TOKEN = (LogProbability, Probability, Rank)


def prepared(measure: Measure, clean: Trace, unembedding: Unembedding) -> Any:
    """A measure as a pytree that is called with what the final norm puts out and the unembedding.

    Args:
        clean: of the asked positions, with `FINAL_NORMED`, bound to its weights.

    Raises:
        LandedError: for a question that is read before the final norm, and what `resolve` refuses.
    """
    if isinstance(measure, OF_A_TOKEN):
        token = measure.token
        ids = resolve(clean).target if token is None else jnp.asarray(token_ids(clean, token))
        return jax.tree_util.Partial(_BY_TOKEN[type(measure)], ids)
    if isinstance(measure, Divergence):
        own = clean[HookPoint.FINAL_NORMED]
        return jax.tree_util.Partial(_divergence, own if measure.reference is None else measure.reference)
    if callable(measure):
        return jax.tree_util.Partial(_Function(measure))
    asked = as_question(measure)  # pyright: ignore[reportArgumentType] # the callables are gone
    if site_of(asked) != "final":
        raise LandedError(f"A sweep measures at the final norm, not at {site_of(asked)}.")
    return jax.tree_util.Partial(_product, resolve(clean, asked).vector)


@dataclass(frozen=True)
class _Function:
    """A user's function of the logits; two of one function are equal, so that nothing compiles again."""

    function: Callable[[jax.Array], jax.Array] = dataclasses.field()

    def __call__(self, normed: jax.Array, unembedding: Unembedding) -> jax.Array:
        found = self.function(unembedding.logits(normed))
        if not isinstance(found, jax.Array) or found.shape != normed.shape[:2]:
            raise LandedError(
                f"A measure gives one number a prompt and position, {list(normed.shape[:2])}, not {shown(found)}."
            )
        return found


def _product(vector: jax.Array, normed: jax.Array, unembedding: Unembedding) -> jax.Array:
    return jnp.vecdot(normed, vector)


def _log_probabilities(normed: jax.Array, unembedding: Unembedding) -> jax.Array:
    return jax.nn.log_softmax(unembedding.logits(normed), axis=-1)


def _picked(values: jax.Array, ids: jax.Array) -> jax.Array:
    ids = jnp.broadcast_to(ids, values.shape[:2])
    return jnp.take_along_axis(values, ids[..., None], axis=-1)[..., 0]


def _log_probability(ids: jax.Array, normed: jax.Array, unembedding: Unembedding) -> jax.Array:
    return _picked(_log_probabilities(normed, unembedding), ids)


def _probability(ids: jax.Array, normed: jax.Array, unembedding: Unembedding) -> jax.Array:
    return jnp.exp(_log_probability(ids, normed, unembedding))


def _rank(ids: jax.Array, normed: jax.Array, unembedding: Unembedding) -> jax.Array:
    logits = unembedding.logits(normed)
    return jnp.sum(logits > _picked(logits, ids)[..., None], axis=-1)


def _divergence(clean: jax.Array, normed: jax.Array, unembedding: Unembedding) -> jax.Array:
    before, now = _log_probabilities(clean, unembedding), _log_probabilities(normed, unembedding)
    return jnp.sum(jnp.exp(before) * (before - now), axis=-1)


_BY_TOKEN = {LogProbability: _log_probability, Probability: _probability, Rank: _rank}
