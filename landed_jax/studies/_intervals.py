"""Confidence intervals of what is accumulated: of a mean, and of a share. `landed_jax.intervals` resamples rows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from landed_jax.errors import LandedError
from landed_jax.intervals import LEVEL
from landed_jax.studies._moments import Moments


class Interval(NamedTuple):
    """A confidence interval."""

    low: Float[np.ndarray, "*cell"]
    high: Float[np.ndarray, "*cell"]


def student_interval(moments: Moments, level: float = LEVEL) -> Interval:
    """The interval of the mean by Student's t; NaN for fewer than two samples.

    It takes samples to be independent: several positions of one prompt are not.

    Raises:
        LandedError: for a level that is not between 0 and 1.

    >>> low, high = student_interval(Moments.of(np.array([1.0, 2.0, 3.0])))
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


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise LandedError(f"A confidence level lies between 0 and 1, not at {level}.")
