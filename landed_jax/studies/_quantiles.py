"""Quantiles with a bound on their relative error, from counts in logarithmic buckets that merge exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

ACCURACY = 0.01
"""The bound on the relative error of a quantile."""
SMALLEST, LARGEST = 1e-9, 1e9
"""Samples of a smaller size count as 0; those of a larger are known to be so, and no more."""

_RATIO = np.log((1 + ACCURACY) / (1 - ACCURACY))
_FIRST = int(np.ceil(np.log(SMALLEST) / _RATIO))
BUCKETS = int(np.ceil(np.log(LARGEST) / _RATIO)) - _FIRST + 1
"""Buckets of one sign."""
_ZERO = BUCKETS
_ALL = 2 * BUCKETS + 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class QuantileSketch:
    """Samples counted in buckets: negative ones, largest size first; zero; positive ones.

    A bucket's bounds stand in the ratio ``(1 + a)/(1 − a)``, a being `ACCURACY`, and its value is that from which
    neither bound is farther than a times itself. The number of buckets is fixed, and counts are whole numbers, so that
    a merge is a sum, the same in any order. The first and the last quantile come from `Moments`, exactly.

    Attributes:
        counts: of samples; the last axis is the buckets'.

    References:
        Masson, Rim and Lee, DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees, 2019,
        arXiv:1908.10693 (section 2; here for both signs, with a fixed range in place of collapsing buckets).

    >>> sketch = QuantileSketch.of(np.arange(1.0, 1001.0))
    >>> round(float(sketch.quantile(0.5)), 1)
    497.8
    """

    counts: Int[np.ndarray, "*cell bucket"]

    @classmethod
    def empty(cls, shape: tuple[int, ...] = ()) -> "QuantileSketch":
        """No sample in any cell."""
        return cls(np.zeros((*shape, _ALL), np.int64))

    @classmethod
    def of(
        cls, samples: Float[np.ndarray, "sample *cell"], where: Bool[np.ndarray, "sample *cell"] | None = None
    ) -> "QuantileSketch":
        """The sketch over the first axis; `where` is as for `Moments.of`."""
        wide = np.asarray(samples, np.float64)
        shape = wide.shape[1:]
        cells = int(np.prod(shape))
        place = _bucket(wide) + _ALL * np.arange(cells).reshape(shape)
        chosen = place if where is None else place[np.broadcast_to(where, wide.shape)]
        counts = np.bincount(chosen.ravel(), minlength=cells * _ALL)
        return cls(counts.reshape(*shape, _ALL).astype(np.int64, copy=False))

    def merged(self, other: "QuantileSketch") -> "QuantileSketch":
        """The sketch of both sets of samples together."""
        return QuantileSketch(self.counts + other.counts)

    @property
    def count(self) -> Int[np.ndarray, "*cell"]:
        """The number of samples."""
        return self.counts.sum(axis=-1)

    def quantile(self, q: float | Sequence[float]) -> Float[np.ndarray, "..."]:
        """The sample of rank ``⌊q (n − 1)⌋``, to `ACCURACY` times its size; NaN where there is none.

        Args:
            q: from 0 to 1; of several, the last axis of the result is theirs.
        """
        running = np.cumsum(self.counts, axis=-1)
        found = [
            _values()[(running <= _rank(one, running)[..., None]).sum(axis=-1).clip(max=_ALL - 1)]
            for one in np.atleast_1d(q)
        ]
        stacked = np.where(running[..., -1:] > 0, np.stack(found, axis=-1), np.nan)
        return stacked if np.ndim(q) else stacked[..., 0]


def _rank(q: float, running: np.ndarray) -> np.ndarray:
    return np.floor(q * np.maximum(running[..., -1] - 1, 0))


def _bucket(samples: np.ndarray) -> np.ndarray:
    size = np.abs(samples)
    within = np.clip(size, SMALLEST, LARGEST)
    place = np.clip(np.ceil(np.log(within) / _RATIO).astype(np.int64) - _FIRST, 0, BUCKETS - 1)
    signed = np.where(samples > 0, _ZERO + 1 + place, _ZERO - 1 - place)
    return np.where(size < SMALLEST, _ZERO, signed)


def _values() -> np.ndarray:
    ratio = np.exp(_RATIO)
    positive = 2 * np.exp(_RATIO * (np.arange(BUCKETS) + _FIRST)) / (1 + ratio)
    return np.concatenate([-positive[::-1], [0.0], positive])
