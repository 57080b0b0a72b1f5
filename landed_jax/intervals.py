"""Intervals over prompts: the bootstrap, for any statistic."""

from collections.abc import Callable

import numpy as np

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
