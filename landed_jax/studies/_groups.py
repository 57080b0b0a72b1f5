"""How samples vary within a prompt, and how their level varies from prompt to prompt: one-way analysis of variance."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Groups:
    """The sums of a one-way analysis of variance, a group being a prompt's samples: exact, and mergeable.

    Attributes:
        prompts: the number of groups that have a sample.
        samples: the number of samples, n in all, n_p of prompt p.
        mean: over all samples; NaN where there is none.
        within: Σ_p Σ_i (x_pi − m_p)², m_p being the mean of prompt p.
        between: Σ_p n_p (m_p − m)², m being `mean`. `within` and it sum to the squared deviations of all samples.
        uneven: Σ_p n_p².

    References:
        Searle, Casella and McCulloch, Variance Components, 1992 (the estimators of unbalanced one-way data); Chan,
        Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979 (the merge,
        here of means with weights).

    Two prompts of two samples each, (1, 3) and (7, 9): a level differs by 6, samples of one prompt by 2.

    >>> found = Groups.of(np.array([2.0, 8.0]), np.array([2, 2]), np.array([2.0, 2.0]))
    >>> float(found.variance_within), float(found.variance_between), round(float(found.intraclass), 3)
    (2.0, 17.0, 0.895)
    """

    prompts: Int[np.ndarray, "*cell"]
    samples: Int[np.ndarray, "*cell"]
    mean: Float[np.ndarray, "*cell"]
    within: Float[np.ndarray, "*cell"]
    between: Float[np.ndarray, "*cell"]
    uneven: Int[np.ndarray, "*cell"]

    @classmethod
    def empty(cls, shape: tuple[int, ...] = ()) -> "Groups":
        """No sample in any cell."""
        none = np.zeros(shape, np.int64)
        return cls(none, none.copy(), np.full(shape, np.nan), np.zeros(shape), np.zeros(shape), none.copy())

    @classmethod
    def of(
        cls,
        means: Float[np.ndarray, "prompt *cell"],
        samples: Int[np.ndarray, "prompt *cell"],
        squares: Float[np.ndarray, "prompt *cell"],
    ) -> "Groups":
        """Of prompts along the first axis.

        Args:
            means: of each prompt's samples; not looked at where it has none.
            samples: how many these are; of a shape that broadcasts against the means'.
            squares: their squared deviations from it, summed.
        """
        counts = np.broadcast_to(np.asarray(samples, np.int64), np.shape(means))
        there = counts > 0
        wide, own = np.asarray(means, np.float64), np.asarray(squares, np.float64)
        total = counts.sum(axis=0)
        mean = np.multiply(wide, counts, where=there, out=np.zeros(wide.shape)).sum(axis=0) / np.maximum(total, 1)
        apart = np.subtract(wide, mean, where=there, out=np.zeros(wide.shape))
        return cls(
            there.sum(axis=0),
            total,
            np.where(total > 0, mean, np.nan),
            own.sum(axis=0, where=there),
            (counts * np.square(apart)).sum(axis=0),
            np.square(counts).sum(axis=0),
        )

    def merged(self, other: "Groups") -> "Groups":
        """The sums over both sets of prompts together."""
        samples = self.samples + other.samples
        mine, theirs = (np.where(part.samples > 0, part.mean, 0.0) for part in (self, other))
        share = other.samples / np.maximum(samples, 1)
        apart = theirs - mine
        # A side without samples gives the other's numbers, to the bit.
        mean = np.where(self.samples == 0, theirs, np.where(other.samples == 0, mine, mine + apart * share))
        between = self.between + other.between + np.square(apart) * self.samples * share
        return Groups(
            self.prompts + other.prompts,
            samples,
            np.where(samples > 0, mean, np.nan),
            self.within + other.within,
            between,
            self.uneven + other.uneven,
        )

    @property
    def variance_within(self) -> Float[np.ndarray, "*cell"]:
        """The variance of one prompt's samples; NaN where no prompt has two."""
        free = self.samples - self.prompts
        return np.where(free > 0, self.within / np.maximum(free, 1), np.nan)

    @property
    def variance_between(self) -> Float[np.ndarray, "*cell"]:
        """The variance of the prompts' levels, what samples within vary by taken off; NaN for fewer than two prompts.

        An unbiased estimate, so below 0 where prompts differ by less than their samples make likely. Where no prompt
        has two samples nothing is taken off.
        """
        free = np.maximum(self.prompts - 1, 1)
        own = np.where(self.samples > self.prompts, self.variance_within, 0.0)
        even = (self.samples - self.uneven / np.maximum(self.samples, 1)) / free
        known = self.prompts > 1
        return np.where(known, (self.between / free - own) / np.where(known, even, 1.0), np.nan)

    @property
    def intraclass(self) -> Float[np.ndarray, "*cell"]:
        """The part of a sample's variance that is between prompts, the intraclass correlation.

        1: it is all the prompt's; 0: a prompt says nothing of its samples. NaN where no prompt has two samples, and
        where nothing varies.
        """
        both = self.variance_between + self.variance_within
        return np.divide(self.variance_between, both, where=both > 0, out=np.full(both.shape, np.nan))

    @property
    def variation_within(self) -> Float[np.ndarray, "*cell"]:
        """The coefficient of variation of one prompt's samples: their deviation over the size of `mean`."""
        return self._over_mean(self.variance_within)

    @property
    def variation_between(self) -> Float[np.ndarray, "*cell"]:
        """The coefficient of variation of the prompts' levels; 0 where their variance is estimated below 0."""
        return self._over_mean(np.maximum(self.variance_between, 0.0))

    def _over_mean(self, variance: np.ndarray) -> np.ndarray:
        size = np.abs(self.mean)
        return np.divide(np.sqrt(variance), size, where=size > 0, out=np.full(size.shape, np.nan))
