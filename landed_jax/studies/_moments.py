"""Count, mean, sum of squared deviations, minimum and maximum of samples: mergeable, in float64."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments and the range of samples, one set of samples a cell.

    Attributes:
        count: the number of samples.
        mean: NaN where there is none.
        squares: the sum of squared deviations from the mean.
        minimum, maximum: ±infinity where there is no sample.

    References:
        Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979 (the
        merge; Welford's update is the merge with one sample).

    >>> parts = Moments.of(np.array([1.0, 2.0])), Moments.of(np.array([6.0]))
    >>> both = parts[0].merged(parts[1])
    >>> int(both.count), float(both.mean), float(both.variance)
    (3, 3.0, 7.0)
    """

    count: Int[np.ndarray, "*cell"]
    mean: Float[np.ndarray, "*cell"]
    squares: Float[np.ndarray, "*cell"]
    minimum: Float[np.ndarray, "*cell"]
    maximum: Float[np.ndarray, "*cell"]

    @classmethod
    def empty(cls, shape: tuple[int, ...] = ()) -> "Moments":
        """No sample in any cell."""
        return cls(
            np.zeros(shape, np.int64),
            np.full(shape, np.nan),
            np.zeros(shape),
            np.full(shape, np.inf),
            np.full(shape, -np.inf),
        )

    @classmethod
    def of(
        cls, samples: Float[np.ndarray, "sample *cell"], where: Bool[np.ndarray, "sample *cell"] | None = None
    ) -> "Moments":
        """The moments over the first axis.

        Args:
            where: which samples count, of a shape that broadcasts against theirs; by default all.
        """
        wide = np.asarray(samples, np.float64)
        if where is None:
            count = np.full(wide.shape[1:], len(wide), np.int64)
        else:
            where = np.broadcast_to(where, wide.shape)
            count = where.sum(axis=0)
        kept = True if where is None else where
        there = np.maximum(count, 1)
        mean = wide.sum(axis=0, where=kept) / there
        squares = np.square(wide - mean).sum(axis=0, where=kept)
        least = wide.min(axis=0, where=kept, initial=np.inf)
        most = wide.max(axis=0, where=kept, initial=-np.inf)
        return cls(np.asarray(count), np.where(count > 0, mean, np.nan), np.asarray(squares), least, most)

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both sets of samples together."""
        count = self.count + other.count
        mine, theirs = (np.where(part.count > 0, part.mean, 0.0) for part in (self, other))
        share = other.count / np.maximum(count, 1)
        apart = theirs - mine
        # A side without samples gives the other's numbers, to the bit.
        mean = np.where(self.count == 0, theirs, np.where(other.count == 0, mine, mine + apart * share))
        squares = self.squares + other.squares + np.square(apart) * self.count * share
        squares = np.where(self.count == 0, other.squares, np.where(other.count == 0, self.squares, squares))
        least, most = np.minimum(self.minimum, other.minimum), np.maximum(self.maximum, other.maximum)
        return Moments(count, np.where(count > 0, mean, np.nan), squares, least, most)

    @property
    def variance(self) -> Float[np.ndarray, "*cell"]:
        """Of the samples, with n − 1 in the denominator; NaN for fewer than two."""
        return np.where(self.count > 1, self.squares / np.maximum(self.count - 1, 1), np.nan)

    @property
    def deviation(self) -> Float[np.ndarray, "*cell"]:
        """The standard deviation, the root of `variance`."""
        return np.sqrt(self.variance)

    @property
    def variation(self) -> Float[np.ndarray, "*cell"]:
        """The coefficient of variation, `deviation` over the size of the mean; NaN where that is 0."""
        size = np.abs(self.mean)
        return np.divide(self.deviation, size, where=size > 0, out=np.full(size.shape, np.nan))
