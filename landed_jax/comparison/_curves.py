"""Faithfulness of circuits of growing size, its areas CPR and CMD, and how many components are enough.

With m the mean value over prompts, N the whole model and ∅ the circuit of nothing, a circuit C is faithful to
``f = (m(C) − m(∅)) / (m(N) − m(∅))``. CPR is the area under f over the fractions of components that are kept, ranked
by score, and CMD the area of ``|1 − f|``, ranked by |score|: Mueller et al., MIB: A Mechanistic Interpretability
Benchmark, 2025, arXiv:2504.13151.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from landed_jax.comparison._bootstrap import DRAWS, Interval, bootstrap
from landed_jax.errors import LandedError
from landed_jax.results.result import Result, result

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of all components at which circuits are measured: those of MIB."""


@result
class Curve(Result):
    """The value under circuits of growing size.

    Attributes:
        fraction: the share of all components that each keeps.
        count: how many components that is, rounded down.
        kept: the value at each prompt.
        whole, nothing: the value of the model, and with all components ablated.
    """

    fraction: Float[np.ndarray, " size"]
    count: Int[np.ndarray, " size"]
    kept: Float[np.ndarray, "size prompt"]
    whole: Float[np.ndarray, " prompt"]
    nothing: Float[np.ndarray, " prompt"]

    @property
    def faithfulness(self) -> Float[np.ndarray, " size"]:
        """f of the means over prompts; NaN where ablating everything changes nothing."""
        return _faithfulness(self._values().mean(axis=-1))

    @property
    def cpr(self) -> float:
        """The area under f; NaN of a single circuit."""
        return float(area(self.fraction, self.faithfulness))

    @property
    def cmd(self) -> float:
        """The area between f and 1."""
        return float(area(self.fraction, np.abs(1 - self.faithfulness)))

    def cpr_interval(self, *, draws: int = DRAWS, seed: int = 0) -> Interval:
        """CPR with its interval over prompts."""
        return self._interval(lambda f: area(self.fraction, f), draws, seed)

    def cmd_interval(self, *, draws: int = DRAWS, seed: int = 0) -> Interval:
        """CMD with its interval over prompts."""
        return self._interval(lambda f: area(self.fraction, np.abs(1 - f)), draws, seed)

    def enough(self, threshold: float = 0.8, *, draws: int = DRAWS, seed: int = 0) -> Interval:
        """How many components reach a faithfulness, between two measured circuits by interpolation.

        The first crossing counts. Between two circuits f is taken to grow with the logarithm of their sizes. NaN where
        no circuit reaches it; the interval is that of the draws in which one does.
        """
        return self._interval(lambda f: crossing(self.count, f, threshold), draws, seed)

    def between(self, threshold: float) -> int:
        """The count halfway between the two circuits where faithfulness first reaches a threshold, by its logarithm."""
        above = np.flatnonzero(self.faithfulness >= threshold)
        first = int(above[0]) if len(above) else len(self.count) - 1
        small, large = int(self.count[max(first - 1, 0)]), int(self.count[first])
        return min(max(round(math.sqrt(max(small, 1) * large)), small), large)

    def joined(self, count: int, value: Float[np.ndarray, " prompt"]) -> "Curve":
        """With one more circuit, of a size that may be there already."""
        if count in self.count:
            return self
        at = int(np.searchsorted(self.count, count))
        # Shares of all components: the last circuit's share is of its own count.
        share = count * self.fraction[-1] / self.count[-1]
        return dataclasses.replace(
            self,
            fraction=np.insert(self.fraction, at, share),
            count=np.insert(self.count, at, count),
            kept=np.insert(self.kept, at, value, axis=0),
        )

    def _values(self) -> Float[np.ndarray, "size_2 prompt"]:
        return np.concatenate([self.kept, self.whole[None], self.nothing[None]])

    def _interval(self, of: Any, draws: int, seed: int) -> Interval:
        return bootstrap(self._values(), lambda means: of(_faithfulness(means)), draws=draws, seed=seed)


def _faithfulness(means: Float[np.ndarray, "*draw size_2"]) -> Float[np.ndarray, "*draw size"]:
    kept, whole, nothing = means[..., :-2], means[..., -2:-1], means[..., -1:]
    there = whole != nothing
    return np.where(there, (kept - nothing) / np.where(there, whole - nothing, 1), np.nan)


def area(fraction: Float[np.ndarray, " size"], values: Float[np.ndarray, "*draw size"]) -> Float[np.ndarray, "*draw"]:
    """The trapezoids between the first fraction and the last, which for MIB's are .001 and 1; NaN of one fraction.

    >>> area(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0])).item()
    0.75
    """
    if len(fraction) < 2:
        return np.full(values.shape[:-1], np.nan)
    return ((values[..., 1:] + values[..., :-1]) / 2 * np.diff(fraction)).sum(axis=-1)


def crossing(
    count: Int[np.ndarray, " size"], values: Float[np.ndarray, "*draw size"], threshold: float
) -> Float[np.ndarray, "*draw"]:
    """Where each row of values first reaches a threshold; NaN where it never does.

    From one component on the logarithm of the count is interpolated, below one the count itself.

    >>> crossing(np.array([1, 10, 100]), np.array([0.0, 0.5, 1.0]), 0.75).round(1).item()
    31.6
    """
    above = values >= threshold
    first = above.argmax(axis=-1)
    last = np.maximum(first - 1, 0)
    low, high = (np.take_along_axis(values, np.asarray(place)[..., None], -1)[..., 0] for place in (last, first))
    rising = high > low
    share = np.where(rising, (threshold - low) / np.where(rising, high - low, 1), 1.0)
    small, large = count[last].astype(float), count[first].astype(float)
    between = np.exp((1 - share) * np.log(np.maximum(small, 1)) + share * np.log(np.maximum(large, 1)))
    return np.where(above.any(axis=-1), np.where(small < 1, small + share * (large - small), between), np.nan)


def kept_counts(components: int, fractions: Sequence[float] = FRACTIONS) -> Int[np.ndarray, " fraction"]:
    """How many components each fraction is, rounded down as in MIB.

    >>> kept_counts(270)
    array([  0,   0,   1,   2,   5,  13,  27,  54, 135, 270])
    """
    if not all(0 <= fraction <= 1 for fraction in fractions) or list(fractions) != sorted(set(fractions)):
        raise LandedError(f"Fractions of components rise from 0 to 1: {list(fractions)} do not.")
    return np.array([int(fraction * components + 1e-9) for fraction in fractions])


def top_masks(
    scores: Float[np.ndarray, "layer component"], counts: Sequence[int] | Int[np.ndarray, " size"], *, absolute: bool
) -> Bool[np.ndarray, "size layer component"]:
    """What is kept of the components with the largest scores, or the largest |scores|; of equal ones the earlier.

    >>> top_masks(np.array([[1.0, -3.0], [2.0, 0.0]]), [2], absolute=True).astype(int).tolist()
    [[[0, 1], [1, 0]]]
    """
    flat = np.abs(scores).ravel() if absolute else scores.ravel()
    place = np.empty(flat.size, int)
    place[np.argsort(-flat, kind="stable")] = np.arange(flat.size)
    return (place < np.asarray(counts)[:, None]).reshape(-1, *scores.shape)
