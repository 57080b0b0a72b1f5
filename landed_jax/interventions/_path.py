"""Values and slopes along the straight line of token embeddings from one prompt's to another's."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.errors import LandedError, shown
from landed_jax.interventions._gradients import Gradients, gradients
from landed_jax.interventions._intervene import intervene
from landed_jax.interventions._measures import Measure
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tokens import Tokens


def whole_steps(steps: Any) -> int:
    """How many steps a path has.

    Raises:
        LandedError: for anything but whole numbers from 1 on.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise LandedError(f"steps={shown(steps)} is no number of steps: 1 or more.")
    return int(steps)


def along(
    model: Model,
    tokens: Tokens,
    measure: Measure,
    sites: Iterable[HookPoint],
    ends: tuple[jax.Array, jax.Array],
    parts: Sequence[float],
    *,
    at: int = -1,
    dtype: Any = None,
) -> Iterator[Gradients]:
    """`gradients` at points of the line, in which all positions are at once and everything behind them follows.

    Args:
        tokens: of either end; only their positions and mask count.
        ends: both prompts' token embeddings, ``[batch, position, d_model]``.
        parts: the points: 0 is the first end, 1 the second.
    """
    sites, (start, end) = frozenset(sites), ends
    for part in parts:
        here = start + (end - start) * jnp.asarray(part, start.dtype)
        embedded = intervene(HookPoint.EMBEDDING, "replace", here)
        yield gradients(model, tokens, measure, sites, at=at, always=embedded, dtype=dtype)


def mean_slopes(
    model: Model,
    tokens: Tokens,
    measure: Measure,
    sites: Iterable[HookPoint],
    ends: tuple[jax.Array, jax.Array],
    steps: int,
    *,
    at: int = -1,
    dtype: Any = None,
) -> dict[HookPoint, jax.Array]:
    """The derivatives' mean over the line by the midpoint rule: at ``(k + ½) / steps``, k from 0.

    It is the same from either end.

    Args:
        tokens, ends: as for `along`.

    Raises:
        LandedError: for a number of steps below 1.
    """
    steps, total = whole_steps(steps), dict[HookPoint, jax.Array]()
    middles = [(step + 0.5) / steps for step in range(steps)]
    for found in along(model, tokens, measure, sites, ends, middles, at=at, dtype=dtype):
        total = {site: slope + total.get(site, 0) for site, slope in found.slopes.items()}
    return {site: slope / steps for site, slope in total.items()}
