"""Confidence intervals: of a mean, of a share, and by resampling prompts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from landed_jax.errors import LandedError
from landed_jax.studies._moments import Moments

LEVEL = 0.95


class Interval(NamedTuple):
    """A confidence interval."""

    low: Float[np.ndarray, "*cell"]
    high: Float[np.ndarray, "*cell"]


def mean_interval(moments: Moments, level: float = LEVEL) -> Interval:
    """The interval of the mean by Student's t; NaN for fewer than two samples.

    It takes samples to be independent: several positions of one prompt are not.

    Raises:
        LandedError: for a level that is not between 0 and 1.

    >>> low, high = mean_interval(Moments.of(np.array([1.0, 2.0, 3.0])))
    >>> round(float(low), 2), round(float(high), 2)
    (-0.48, 4.48)
    """
    _check_level(level)
    free = np.maximum(moments.count - 1, 1)
    half = stats.t.ppf((1 + level) / 2, free) * moments.deviation / np.sqrt(np.maximum(moments.count, 1))
    return Interval(moments.mean - half, moments.mean + half)


def share_interval(true: Int[np.ndarray, "*cell"], count: Int[np.ndarray, "*cell"], level: float = LEVEL) -> Interval:
    """The exact interval of a share; from 0 to 1 where there is no sample.

    Args:
        true: how many of `count` samples.

    Raises:
        LandedError: for a level that is not between 0 and 1.

    References:
        Clopper and Pearson, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial, 1934.

    >>> low, high = share_interval(np.array(8), np.array(10))
    >>> round(float(low), 3), round(float(high), 3)
    (0.444, 0.975)
    """
    _check_level(level)
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, np.maximum(true, 1), count - true + 1)
    high = stats.beta.ppf(1 - tail, true + 1, np.maximum(count - true, 1))
    return Interval(np.where(true > 0, low, 0.0), np.where(true < count, high, 1.0))


def bootstrap_interval(
    rows: Float[np.ndarray, "prompt *cell"],
    statistic: Callable[..., Any] = np.mean,
    *,
    level: float = LEVEL,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The percentile interval of a statistic, the prompts drawn again with replacement.

    Prompts are independent where positions of one prompt are not, so this is the interval for what is kept prompt by
    prompt, and for a ratio of sums or a quantile, which no formula covers.

    Args:
        statistic: ``statistic(rows, axis=0)``.

    Raises:
        LandedError: for no row, or a level that is not between 0 and 1.

    References:
        Efron, Bootstrap Methods: Another Look at the Jackknife, 1979.

    >>> low, high = bootstrap_interval(np.arange(100.0), np.median)
    >>> bool(35 < low < 49.5 < high < 65)
    True
    """
    _check_level(level)
    rows = np.asarray(rows)
    if not len(rows):
        raise LandedError("There is no prompt to resample.")
    random = np.random.default_rng(seed)
    found = np.stack([statistic(rows[random.integers(0, len(rows), len(rows))], axis=0) for _ in range(resamples)])
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(low, high)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise LandedError(f"A confidence level lies between 0 and 1, not at {level}.")
