"""What is measured in the patched runs: one measure for both prompts, its tokens fixed before any run."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.reads._questions import Logit, as_question, resolve
from landed_jax.analysis.reads._targets import Target, token_ids
from landed_jax.errors import LandedError, listed
from landed_jax.interventions._measures import OF_A_TOKEN, Divergence, Measure, prepared
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import unembedding
from landed_jax.nn.unembedding import Unembedding
from landed_jax.numerics import highest_precision
from landed_jax.patching._aligned import Aligned
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import columns
from landed_jax.trace import Trace

_READ = frozenset({HookPoint.FINAL_NORMED, HookPoint.FINAL_GAMMA})  # γ for the offset of a norm with a bias


class Asked(NamedTuple):
    """A measure that has the same meaning in every run.

    Attributes:
        columns: those that are measured, from 0.
        clean, corrupted: what it is of the two prompts, ``[batch, position]``.
        target, against: the tokens that it is about, ``[batch, position]``, where it is about tokens.
    """

    measure: Any
    columns: tuple[int, ...]
    clean: jax.Array
    corrupted: jax.Array
    target: jax.Array | None
    against: jax.Array | None


def asked_of(
    model: Model,
    given: Any,
    pair: Aligned,
    measure: Measure,
    against: Target | None,
    at: int | Sequence[int],
    dtype: Any,
) -> Asked:
    """The measure in ids, from one pass of each prompt.

    Args:
        given: the prompts as the user gave them: `Pairs` bring a question.
    """
    places = columns(at, pair.differ.shape[1])
    known = tuple(np.asarray(places).tolist())
    _check_order(pair.differ, known)
    traces = [model.trace(side, record=_READ, at=places, dtype=dtype) for side in pair[:2]]
    if measure is None and against is None and isinstance(given, Pairs):
        measure = given.question(model.params, model.config, dtype)
    measure, target, other = _in_ids(measure, against, *traces)
    to_logits = unembedding(model.params, model.config)
    clean, corrupted = (_value(measure, trace, to_logits) for trace in traces)
    return Asked(measure, known, clean, corrupted, target, other)


def _check_order(differ: np.ndarray, known: tuple[int, ...]) -> None:
    """Refuse prompts whose first difference comes after what is measured."""
    late = [str(row) for row in np.flatnonzero(differ.argmax(axis=1) > min(known))]
    if late:
        raise LandedError(
            f"The prompts of pair {listed(late, 5).replace('; ', ', ')} differ only after position {min(known)}, so "
            "nothing there can depend on it: ask at a later position."
        )


def _in_ids(
    measure: Any, against: Target | None, clean: Trace, corrupted: Trace
) -> tuple[Any, jax.Array | None, jax.Array | None]:
    """The measure with its tokens as ids ``[batch, position]``, and these."""
    shape = clean[HookPoint.FINAL_NORMED].shape[:2]

    def ids(token: Target | None) -> jax.Array:
        return jnp.broadcast_to(top(clean) if token is None else token_ids(clean, token), shape)

    def top(trace: Trace) -> jax.Array:
        found = resolve(trace).target
        assert found is not None  # of a logit
        return found

    if isinstance(measure, OF_A_TOKEN):
        target = ids(measure.token)
        return dataclasses.replace(measure, token=target), target, None
    if isinstance(measure, Divergence):
        own = clean[HookPoint.FINAL_NORMED]
        return (Divergence(own) if measure.reference is None else measure), None, None
    if callable(measure):
        return measure, None, None
    question = as_question(measure, against)
    if not isinstance(question, Logit):
        return question, None, None
    target, other = ids(question.token), None if question.against is None else ids(question.against)
    if measure is None and against is None:
        likeliest = top(corrupted)
        other = likeliest if bool(jnp.all(likeliest != target)) else None
    return Logit(target, against=other, centred=question.centred), target, other


@highest_precision
def _value(measure: Any, trace: Trace, to_logits: Unembedding) -> jax.Array:
    return prepared(measure, trace, to_logits)(trace[HookPoint.FINAL_NORMED], to_logits)
