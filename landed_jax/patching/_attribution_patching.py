"""Attribution patching: every patch of activation patching at once, to first order, by backward passes."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.reads._targets import Target
from landed_jax.errors import LandedError, shown
from landed_jax.interventions._gradients import gradients
from landed_jax.interventions._measures import Divergence, Measure, Rank
from landed_jax.interventions._neuron_values import of_neuron
from landed_jax.interventions._path import mean_slopes, whole_steps
from landed_jax.model import Model, Prompts
from landed_jax.nn.hook_points import HookPoint, axes_of
from landed_jax.patching._activation_patching import check_direction, in_all_columns, patching
from landed_jax.patching._aligned import aligned
from landed_jax.patching._asked import asked_of
from landed_jax.patching._components import Components, columns_of, names_of, neurons, points_of, recorded
from landed_jax.patching._patching import Direction, Patching
from landed_jax.prompts import warn_of
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace


def attribution_patching(
    model: Model,
    clean: Prompts | Pairs,
    corrupted: Prompts | None = None,
    measure: Measure = None,
    against: Target | None = None,
    *,
    sites: HookPoint | str | Iterable[HookPoint | str] | None = None,
    components: Components = "positions",
    direction: Direction = "denoise",
    at: int = -1,
    steps: int | None = None,
    dtype: Any = None,
) -> Patching:
    """An estimate of `activation_patching`, of all components at once: ``(other − own value) · ∂measure/∂value``.

    The derivative is that of the run that is patched (the corrupted prompt's in denoising), by one forward and one
    backward pass; the values of the other prompt take a pass more. It is exact where the measure is linear between the
    two values, and can be far off where it is not: for the early stream, whose change is large, and through a saturated
    softmax. Check what matters by `activation_patching`.

    With `steps` the derivative is averaged along a path by the midpoint rule, with a pass forward and back for each
    step: in step k, from 0, the *token embeddings* of the run are ``own + (k + ½)/steps · (other − own)`` at every
    position at once, and everything behind them follows; the difference of values that it is multiplied with stays that
    of the two prompts. So the estimates of the first layer's stream, summed over positions, tend to the whole
    difference of the two prompts.

    Args:
        at: the column that is measured.
        steps: how many points of that path; by default none, and the derivative is the patched run's own.
        clean, corrupted, measure, against, sites, components, direction, dtype: as for `activation_patching`; a `Rank`
            has no derivative, and a `Divergence` from the patched run itself has none but 0.

    Raises:
        LandedError: as `activation_patching` does, and for a measure without a derivative.

    References:
        Nanda, Attribution Patching: Activation Patching At Industrial Scale, 2023; Syed et al., Attribution Patching
        Outperforms Automated Circuit Discovery, 2023; Hanna et al., Have Faith in Faithfulness, 2024 (the path by the
        embeddings).

    >>> from landed_jax import load
    >>> from landed_jax.patching import activation_patching
    >>> prompts = "The Colosseum is in the city of", "The Louvre is in the city of"
    >>> found = attribution_patching(load(), *prompts, components="heads")
    >>> [place.item() for place in jnp.unravel_index(found.recovered.argmax(), found.recovered.shape[:2])]
    [2, 7]
    """
    check_direction(direction)
    points = points_of(components, sites, model.config)
    _check(measure, direction, at, steps)
    if steps is not None and HookPoint.EXPERT in points:
        raise LandedError("Along a path other experts are chosen: neurons of experts take no steps=.")
    pair = aligned(model, clean, corrupted)
    warn_of(pair.warnings)
    asked = asked_of(model, clean, pair, measure, against, at, dtype)
    own, other = (pair.corrupted, pair.clean)[:: 1 if direction == "denoise" else -1]
    ours, theirs = (
        recorded(model.params, side, model.config, [*points, HookPoint.EMBEDDING], dtype) for side in (own, other)
    )
    slopes = _slopes(model, own, asked.measure, points, asked.columns[0], (ours, theirs), steps, dtype)
    if components == "positions":
        there, run = columns_of(pair, asked.columns)
        found = jnp.stack([_by_column(theirs[point] - ours[point], slopes[point], point) for point in points])
        labels = (("hook_point", tuple(point.value for point in points)), ("layer", tuple(range(found.shape[1]))))
        effect, labels = in_all_columns(found[:, :, np.array(run)], labels, there, run)
    elif components == "heads":
        point = HookPoint.HEAD
        effect = jnp.einsum("lbphd,lbphd->lhb", theirs[point] - ours[point], slopes[point])
        labels = tuple((name, tuple(range(size))) for name, size in zip(("layer", "head"), effect.shape, strict=False))
    else:
        effect = jnp.stack([_of_neuron(ours, theirs, slopes[HookPoint.NEURON], place) for place in neurons(components)])
        labels = (("neuron", names_of(components)),)
    method = "attribution patching" if steps is None else f"attribution patching, integrated gradients in {steps} steps"
    return patching(model, pair, asked, effect[..., None], labels, direction, method)


def _check(measure: Any, direction: Direction, at: Any, steps: int | None) -> None:
    if isinstance(at, bool) or not isinstance(at, int | np.integer):
        raise LandedError(f"Attribution patching measures at one column, not at {shown(at)}.")
    if steps is not None:
        whole_steps(steps)
    if isinstance(measure, Rank):
        raise LandedError("A rank has no derivative: measure a logit, or patch activations.")
    if isinstance(measure, Divergence) and measure.reference is None and direction == "noise" and steps is None:
        raise LandedError(
            "The divergence from the run itself is least there, so its derivative is 0: take steps=, or patch "
            "activations."
        )


def _slopes(
    model: Model,
    own: Tokens,
    measure: Any,
    points: Sequence[HookPoint],
    column: int,
    runs: tuple[Trace, Trace],
    steps: int | None,
    dtype: Any,
) -> dict[HookPoint, jax.Array]:
    """The measure's derivative by each value in the patched run, or its mean along the path to the other."""
    wanted = [point for point in points if point is not HookPoint.EXPERT]
    if steps is None:
        return dict(gradients(model, own, measure, wanted, at=column, dtype=dtype).slopes)
    ours, theirs = (run[HookPoint.EMBEDDING] for run in runs)
    return mean_slopes(model, own, measure, wanted, (ours, theirs), steps, at=column, dtype=dtype)


def _by_column(change: jax.Array, slope: jax.Array, point: HookPoint) -> jax.Array:
    """Their product, summed within each layer, column and prompt: ``[layer, column, batch]``."""
    axes = axes_of(point)
    column = axes.index("position" if "position" in axes else "source")
    others = tuple(axis for axis in range(len(axes)) if axis not in (0, 1, column))
    return jnp.swapaxes(jnp.sum(change * slope, axis=others), 1, 2)


def _of_neuron(ours: Trace, theirs: Trace, slope: jax.Array, place: Sequence[int]) -> jax.Array:
    """One neuron's product, summed over positions, ``[batch]``."""
    layer, point = place[0], HookPoint.NEURON
    change = of_neuron(theirs, theirs[point][layer], place)[..., None] - ours[point][layer]
    return jnp.sum(of_neuron(ours, change * slope[layer], place), axis=-1)
