"""A user's own reduction of a batch's trace as something to keep."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from landed_jax.errors import LandedError, shown
from landed_jax.nn.hook_points import WRITES, HookPoint
from landed_jax.results.axes import shape_of
from landed_jax.results.result import Result
from landed_jax.studies._measured import Keep, Kind, Measured, View
from landed_jax.studies.keeps import keep_named
from landed_jax.trace import Trace

Reduction = Callable[[Trace], Result | Mapping[str, Any]]
"""From the bound trace of a batch, all columns, padded on the left, to arrays prompt by prompt."""


def keep_of(asked: str | Keep | Reduction, record: frozenset[HookPoint] = WRITES) -> Keep:
    """What is to be kept, from its name, itself, or a reduction.

    Args:
        record: what the trace of a reduction holds.

    Raises:
        LandedError: for a name that there is not, and a reduction without a name of its own.
    """
    if isinstance(asked, Keep):
        return asked
    if isinstance(asked, str):
        return keep_named(asked)
    if not callable(asked):
        raise LandedError(f"What is kept is given by name or as a function of a trace, not as {shown(asked)}.")
    return _of_function(asked, record)


@functools.lru_cache(maxsize=64)  # the same function is the same keep, whose program is compiled once
def _of_function(function: Reduction, record: frozenset[HookPoint]) -> Keep:
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise LandedError("A reduction's name begins the names of its numbers: define it by def.")

    def measure(view: View) -> dict[str, Measured]:
        assert view.whole is not None  # everywhere=True
        return _measured(function(view.whole), name)

    return Keep(name, measure, record, everywhere=True)


def _measured(found: Any, name: str) -> dict[str, Measured]:
    if isinstance(found, Result):
        return dict(_of_result(found))
    if not isinstance(found, Mapping):
        raise LandedError(f"{name} gives a Result or arrays by their names, not a {type(found).__name__}.")
    measured = {}
    for key, value in found.items():
        axes, array = value if isinstance(value, tuple) else (None, value)
        axes = tuple(f"{key}_{i}" for i in range(1, array.ndim)) if axes is None else tuple(axes)
        measured[key] = _of_array(array, ("batch", *axes), key)
    return measured


def _of_result(found: Result) -> Any:
    import dataclasses

    for field in dataclasses.fields(found):
        value, shape = getattr(found, field.name), shape_of(field.type)
        if value is not None and shape is not None:
            axes = tuple(word.lstrip("#").split("=")[0] for word in shape.split())
            if len(axes) != value.ndim or "batch" not in axes:
                raise LandedError(f"{field.name} has the axes {shape!r}, and none of prompts: give its arrays by name.")
            yield field.name, _of_array(value, axes, field.name)


def _of_array(value: Any, axes: tuple[str, ...], name: str) -> Measured:
    import jax.numpy as jnp

    if value.ndim != len(axes):
        raise LandedError(f"{name} has {value.ndim} axes, and {len(axes)} names for them.")
    value = jnp.moveaxis(value, axes.index("batch"), 0)
    rest = tuple(axis for axis in axes if axis != "batch")
    by_position = "position" in rest
    if by_position:
        value = jnp.moveaxis(value, 1 + rest.index("position"), 1)
        rest = tuple(axis for axis in rest if axis != "position")
        if value.shape[1] == 1:  # of the asked position alone
            value, by_position = value[:, 0], False
    is_float = jnp.issubdtype(value.dtype, jnp.floating)
    return Measured(value, Kind(rest, by_position=by_position, row=not by_position, statistics=by_position or is_float))
