"""Mean ablation: values of a data set, averaged by position class, put where a prompt's positions are of that class."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.scale._position_classes import Delimiters, position_classes
from landed_jax.errors import LandedError
from landed_jax.interventions._intervene import intervene
from landed_jax.nn.hook_points import HookPoint, as_site, axes_of
from landed_jax.nn.intervention import Intervention
from landed_jax.trace import Trace


def mean_of(
    data: Trace | Sequence[Trace],
    site: HookPoint | str,
    prompts: Trace,
    *,
    delimiters: Delimiters | None = None,
    **where: Any,
) -> Intervention:
    """Values replaced by their mean over a data set: at a first token by that of first tokens, and so on.

    The classes are those of `position_classes`: first token, delimiter, other; σ differs by orders of magnitude between
    them. A position of a class that the data do not hold stays as it is. Padding is not counted.

    Args:
        data: traces that recorded `site`, of any prompts.
        prompts: a trace of the prompts that the intervention is for (it need not have recorded `site`).
        delimiters: as for `position_classes`.
        where: the places meant, as for `intervene`.

    Raises:
        LandedError: for a site that was not recorded or has no positions, and what `position_classes` refuses.
    """
    point = as_site(site)
    axes = axes_of(point)
    if "position" not in axes or "source" in axes:
        raise LandedError(f"{point.value} has no mean over positions: its axes are {', '.join(axes)}.")
    traces = [data] if isinstance(data, Trace) else list(data)
    if not traces:
        raise LandedError("A mean is of at least one trace.")
    if prompts.at.shape[0] != prompts.tokens.ids.shape[-1]:
        raise LandedError("The trace of the prompts must have recorded all positions.")
    by_class = [_by_class(trace, point, delimiters) for trace in traces]
    total, count = (functools.reduce(jnp.add, parts) for parts in zip(*by_class, strict=True))
    mean = total / jnp.maximum(count, 1).reshape(-1, *(1,) * (total.ndim - 1))
    members = position_classes(prompts, delimiters=delimiters).members & (count > 0)[:, None, None]
    value = jnp.moveaxis(jnp.tensordot(members.astype(mean.dtype), mean, axes=[[0], [0]]), (0, 1), _places(axes))
    if "positions" not in where:
        known = np.asarray(jnp.any(members, axis=0))  # of each prompt: at least its first token
        columns = np.arange(known.shape[1])
        where["positions"] = np.where(known, columns, known.argmax(axis=1)[:, None])
    return intervene(point, "replace", value, **where)


def _places(axes: tuple[str, ...]) -> tuple[int, int]:
    return axes.index("batch"), axes.index("position")


def _by_class(trace: Trace, point: HookPoint, delimiters: Delimiters | None) -> tuple[jax.Array, jax.Array]:
    """Each class's sum, its axis first, and the number of its positions."""
    members, value = position_classes(trace, delimiters=delimiters).members, trace[point]
    by_class = jnp.tensordot(members.astype(value.dtype), value, axes=[[1, 2], _places(axes_of(point))])
    return by_class, jnp.sum(members, axis=(1, 2)).astype(value.dtype)
