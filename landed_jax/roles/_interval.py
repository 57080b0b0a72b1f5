"""Intervals of means over prompts."""

import numpy as np
from jaxtyping import Float

from landed_jax.errors import LandedError

RESAMPLES = 1000


def bootstrap_interval(
    values: Float[np.ndarray, "*shape sample"], level: float = 0.95, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of the mean over the last axis, by the percentiles of resampled means.

    All of the other axes share the resamples, so that a difference of two of them is of the same prompts.

    Raises:
        LandedError: for a level that is not between 0 and 1, or no sample.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993 (the percentile interval).

    >>> low, high = bootstrap_interval(np.arange(100.0))
    >>> round(float(low)), round(float(high))
    (44, 55)
    """
    if not 0 < level < 1 or not values.shape[-1]:
        raise LandedError(f"An interval is of at least one sample, at a level between 0 and 1, not {level}.")
    count, random = values.shape[-1], np.random.default_rng(seed)
    # How often each sample is drawn: one product in place of a copy for each resample.
    weights = random.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    means = np.asarray(values, np.float64) @ weights.T
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return low, high
