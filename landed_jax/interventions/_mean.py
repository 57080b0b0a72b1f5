"""Mean ablation: values of a data set, averaged by position class, put where a prompt's positions are of that class."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
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
    data: Trace | Iterable[Trace],
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
        data: traces that recorded `site`, of any prompts; an iterator is read one trace at a time.
        prompts: a trace of the prompts that the intervention is for (it need not have recorded `site`).
        delimiters: as for `position_classes`.
        where: the places meant, as for `intervene`.

    Raises:
        LandedError: for a site that was not recorded or has no positions, and what `position_classes` refuses.
    """
    return class_means(data, site, delimiters=delimiters).at(prompts, **where)


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """A hook point's mean over a data set, by position class.

    Attributes:
        mean: the classes first, then the axes of the hook point without prompts and positions.
        known: of each class, whether the data hold a position of it.
    """

    site: HookPoint
    mean: jax.Array
    known: jax.Array
    delimiters: Delimiters | None = None

    def at(self, prompts: Trace, **where: Any) -> Intervention:
        """The means at the positions of some prompts; see `mean_of`."""
        if prompts.at.shape[0] != prompts.tokens.ids.shape[-1]:
            raise LandedError("The trace of the prompts must have recorded all positions.")
        members = position_classes(prompts, delimiters=self.delimiters).members & self.known[:, None, None]
        value = jnp.tensordot(members.astype(self.mean.dtype), self.mean, axes=[[0], [0]])
        value = jnp.moveaxis(value, (0, 1), _places(axes_of(self.site)))
        if "positions" not in where:
            known = np.asarray(jnp.any(members, axis=0))  # of each prompt: at least its first token
            columns = np.arange(known.shape[1])
            where["positions"] = np.where(known, columns, known.argmax(axis=1)[:, None])
        return intervene(self.site, "replace", value, **where)


def class_means(
    data: Trace | Iterable[Trace], site: HookPoint | str, *, delimiters: Delimiters | None = None
) -> ClassMeans:
    """What `mean_of` puts there, for several batches of prompts; the arguments are the same."""
    point = as_site(site)
    axes = axes_of(point)
    if "position" not in axes or "source" in axes:
        raise LandedError(f"{point.value} has no mean over positions: its axes are {', '.join(axes)}.")
    # One trace at a time: an iterator need not hold them all.
    by_class = [_by_class(trace, point, delimiters) for trace in ([data] if isinstance(data, Trace) else data)]
    if not by_class:
        raise LandedError("A mean is of at least one trace.")
    total, count = (functools.reduce(jnp.add, parts) for parts in zip(*by_class, strict=True))
    mean = total / jnp.maximum(count, 1).reshape(-1, *(1,) * (total.ndim - 1))
    return ClassMeans(point, mean, count > 0, delimiters)


def _places(axes: tuple[str, ...]) -> tuple[int, int]:
    return axes.index("batch"), axes.index("position")


def _by_class(trace: Trace, point: HookPoint, delimiters: Delimiters | None) -> tuple[jax.Array, jax.Array]:
    """Each class's sum, its axis first, and the number of its positions."""
    members, value = position_classes(trace, delimiters=delimiters).members, trace[point]
    by_class = jnp.tensordot(members.astype(value.dtype), value, axes=[[1, 2], _places(axes_of(point))])
    return by_class, jnp.sum(members, axis=(1, 2)).astype(value.dtype)
