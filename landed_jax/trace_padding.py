"""Padding of a trace, which lets prompts of about the same length share compiled programs and which nobody sees."""

import dataclasses
from collections.abc import Mapping
from functools import partial

import jax
import numpy as np

from landed_jax.nn.hook_points import HookPoint, axes_of
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace


def without_padding(trace: Trace, tokens: Tokens, at: jax.Array | None) -> Trace:
    """The trace of padded prompts as that of the prompts alone: the same columns and axes as without padding.

    Args:
        trace: of ``tokens.bucketed()``.
        tokens: the prompts themselves.
        at: the columns of `tokens` that were recorded; None for all, where `trace` recorded all columns of the padded.
    """
    length = tokens.ids.shape[1]
    axes = frozenset({"source"} if at is not None else {"source", "position"})
    values = trace.sown if trace.logits is None else {**trace.sown, _LOGITS: trace.logits}
    kept = _last_columns(values, length, axes)
    at = jax.device_put(np.arange(length, dtype=np.int32)) if at is None else at
    known = dataclasses.replace(trace.provenance, tokens=tokens, at=at)
    return dataclasses.replace(trace, provenance=known, logits=kept.pop(_LOGITS, None), sown=kept)


_LOGITS = "logits"


@partial(jax.jit, static_argnums=(1, 2))
def _last_columns(values: Mapping[str, jax.Array], length: int, axes: frozenset[str]) -> dict[str, jax.Array]:
    def last(name: str, value: jax.Array) -> jax.Array:
        names = ("batch", "position", "vocab") if name == _LOGITS else axes_of(HookPoint(name))
        for axis, kind in enumerate(names):
            if kind in axes:
                value = jax.lax.slice_in_dim(value, value.shape[axis] - length, None, axis=axis)
        return value

    return {name: last(name, value) for name, value in values.items()}


@jax.jit
def shifted(at: jax.Array, padding: int | jax.Array) -> jax.Array:
    """Columns of prompts as columns of the padded."""
    return at + padding
