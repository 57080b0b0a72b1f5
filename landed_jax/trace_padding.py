"""Padding of traces, so that prompts of about one length share compiled programs; no result shows it."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.nn.hook_points import HookPoint, axes_of
from landed_jax.nn.parameters import Params
from landed_jax.numerics import is_concrete
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

R = TypeVar("R")


def without_padding(trace: Trace, tokens: Tokens, at: jax.Array | None) -> Trace:
    """The trace of padded prompts as that of the prompts alone: the same columns and axes as without padding.

    Args:
        trace: of ``tokens.bucketed()``.
        tokens: the prompts themselves.
        at: the columns of `tokens` that were recorded; None for all, where `trace` recorded all columns of the padded.
    """
    length = tokens.ids.shape[1]
    axes = frozenset({"source"} if at is not None else {"source", "position"})
    kept = by_shape(_last_columns, _values(trace), length, axes)
    at = jax.device_put(np.arange(length, dtype=np.int32)) if at is None else at
    known = dataclasses.replace(trace.provenance, tokens=tokens, at=at)
    return dataclasses.replace(trace, provenance=known, logits=kept.pop(_LOGITS, None), sown=kept, bucketed=True)


def with_padding(trace: Trace) -> tuple[Trace, int, frozenset[str]]:
    """A trace with padding on the left, up to a `bucket_length`, for programs that its prompts share with others.

    Rows of padding hold the first column's numbers, so that nothing divides by zero; no source is padding's.

    Returns:
        The padded trace, the number of columns of padding, and the axes that have it.
    """
    tokens = trace.tokens.bucketed()
    length = trace.tokens.ids.shape[1]
    padding = tokens.ids.shape[1] - length
    whole = np.array_equal(trace.at, np.arange(length))
    axes = frozenset({"source", "position"} if whole else {"source"})
    values = by_shape(_more_columns, _values(trace), padding, axes)
    at = jax.device_put(np.arange(length + padding, dtype=np.int32)) if whole else shifted(trace.at, padding)
    known = dataclasses.replace(trace.provenance, tokens=tokens, at=at)
    padded = dataclasses.replace(trace, provenance=known, logits=values.pop(_LOGITS, None), sown=values, bucketed=False)
    return padded, padding, axes


def is_known(trace: Trace) -> bool:
    """Whether a trace's numbers are known now: inside a transformation its shapes are those of the user's program."""
    return all(map(is_concrete, jax.tree.leaves((trace.provenance, trace.sown, trace.logits))))


def is_on_one_device(params: Params) -> bool:
    """Whether all weights are known to be on one device: only then are a trace's bytes those of that device."""
    leaf = jax.tree.leaves(params)[0]
    return is_concrete(leaf) and (not isinstance(leaf, jax.Array) or len(leaf.devices()) == 1)


_LOGITS = "logits"


def _values(trace: Trace) -> dict[str, jax.Array]:
    return trace.sown if trace.logits is None else {**trace.sown, _LOGITS: trace.logits}


def _axes(name: str) -> tuple[str, ...]:
    return ("batch", "position", "vocab") if name == _LOGITS else axes_of(HookPoint(name))


def _more_columns(values: Mapping[str, Any], padding: int, axes: frozenset[str]) -> dict[str, Any]:
    def more(name: str, value: Any) -> Any:
        xp = jnp if isinstance(value, jax.Array) else np
        for axis, kind in enumerate(_axes(name)):
            if kind in axes:
                width = [(padding if i == axis else 0, 0) for i in range(value.ndim)]
                value = xp.pad(value, width, mode="edge" if kind == "position" else "constant")
        return value

    return {name: more(name, value) for name, value in values.items()}


def _last_columns(values: Mapping[str, Any], length: int, axes: frozenset[str]) -> dict[str, Any]:
    def last(name: str, value: Any) -> Any:
        return value[tuple(slice(-length if kind in axes else None, None) for kind in _axes(name))]

    return {name: last(name, value) for name, value in values.items()}


def by_shape(function: Callable[..., R], arrays: Any, *static: Any) -> R:
    """``function(arrays, *static)``, which only cuts and pads, and is asked to for one shape after another.

    On one CPU by NumPy, which looks at JAX's arrays where they are and compiles nothing; otherwise in one program.
    """
    if all(map(_is_on_one_cpu, jax.tree.leaves(arrays))):
        return jax.device_put(function(jax.tree.map(np.asarray, arrays), *static))
    return _compiled(function, arrays, static)


@partial(jax.jit, static_argnums=(0, 2))
def _compiled(function: Callable[..., R], arrays: Any, static: tuple[Any, ...]) -> R:
    return function(arrays, *static)


def _is_on_one_cpu(leaf: Any) -> bool:
    if not is_concrete(leaf) or not isinstance(leaf, jax.Array):
        return is_concrete(leaf)
    return {device.platform for device in leaf.devices()} == {"cpu"} and len(leaf.devices()) == 1


@jax.jit
def shifted(at: jax.Array, padding: int | jax.Array) -> jax.Array:
    """Columns of prompts as columns of the padded."""
    return at + padding
