"""Intervals over prompts: the bootstrap, for any statistic."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from landed_jax.errors import LandedError

RESAMPLES, LEVEL = 1000, 0.95


def bootstrap(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The percentile interval of a statistic over samples that are drawn again with replacement.

    Args:
        rows: ``[sample, …]``: one row a prompt, since a prompt's own numbers go together.
        statistic: of such an array.

    Returns:
        The bounds; both the value itself for a single row.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993.

    >>> low, high = bootstrap(np.arange(100.0), np.mean)
    >>> bool(43 < low < 45 and 54 < high < 56)
    True
    """
    chooser = np.random.default_rng(seed)
    drawn = chooser.integers(len(rows), size=(resamples, len(rows)))
    values = np.array([statistic(rows[places]) for places in drawn], np.float64)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_intervals(
    values: Float[np.ndarray, "*shape sample"], level: float = LEVEL, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """The percentile intervals of many means over the last axis at once.

    All of them share the resamples, so that a difference of two is of the same prompts.

    Raises:
        LandedError: for a level that is not between 0 and 1, or no sample.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993.

    >>> low, high = mean_intervals(np.arange(100.0))
    >>> round(float(low)), round(float(high))
    (44, 55)
    """
    if not 0 < level < 1 or not values.shape[-1]:
        raise LandedError(f"An interval is of at least one sample, at a level between 0 and 1, not {level}.")
    means = resampled_means(values, seed=seed, resamples=resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return low, high


def resampled_means(
    values: Float[np.ndarray, "*shape sample"], *, seed: int = 0, resamples: int = RESAMPLES
) -> Float[np.ndarray, "*shape resample"]:
    """Means over the last axis, of samples that are drawn again with replacement, the same for all other axes.

    >>> resampled_means(np.array([[1.0, 1.0], [2.0, 2.0]]), resamples=3).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    count, random = values.shape[-1], np.random.default_rng(seed)
    # How often each sample is drawn: one product in place of a copy for each resample.
    weights = random.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    return np.asarray(values, np.float64) @ weights.T
