"""Bootstrap intervals over prompts of whatever is a function of means over prompts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from landed_jax.intervals import LEVEL, RESAMPLES, resampled_means

DRAWS = RESAMPLES


class Interval(NamedTuple):
    """An estimate with a confidence interval.

    Attributes:
        low, high: NaN where no draw has a value.
        counted: in how many draws the estimate has a value, such as a share of something that is not 0 there: the
            interval is that of these draws.
    """

    estimate: float
    low: float
    high: float
    counted: int


def bootstrap(
    values: Float[np.ndarray, "*any prompt"],
    of: Callable[[Any], Any] = lambda means: means,
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """A function of means over prompts, with its percentile interval over resampled prompts.

    Args:
        values: prompts along the last axis.
        of: ``of(means[..., *any]) -> [...]``: called once with the means, and once with those of all draws, ``[draw,
            *any]``.
        draws: how many times as many prompts are drawn with replacement.
        level: the share of the draws that the interval holds.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    >>> found = bootstrap(np.array([1.0, 2.0, 3.0, 2.0]))
    >>> found.estimate, round(found.low, 2), round(found.high, 2), found.counted
    (2.0, 1.25, 2.51, 1000)
    """
    values = np.asarray(values, np.float64)
    drawn = of(np.moveaxis(resampled_means(values, seed=seed, resamples=draws), -1, 0))
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) else (np.nan, np.nan)
    return Interval(float(of(values.mean(axis=-1))), float(low), float(high), len(drawn))
