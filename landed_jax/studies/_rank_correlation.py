"""The mean rank correlation of all pairs of prompts, without any pair of them."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class RankCorrelation:
    """How alike prompts order the same things: Spearman's correlation, the mean over all pairs of prompts.

    Spearman's correlation of two prompts is ⟨r_p, r_q⟩, where r is the vector of ranks (ties share their mean rank)
    less its mean, of length 1. So over n prompts the mean over all pairs follows from the sum of their vectors alone:
    ``(‖Σ_p r_p‖² − n) / (n (n − 1))``. Vectors add up, in any order.

    Attributes:
        total: Σ_p r_p.
        prompts: how many there are in it.
        constant: how many more there are whose numbers are all equal: these have no order.

    References:
        Spearman, The Proof and Measurement of Association between Two Things, 1904; Kendall and Babington Smith, The
        Problem of m Rankings, 1939 (the coefficient of concordance W, which the mean over pairs is a linear function
        of: ``((n − 1) · mean + 1) / n``).

    >>> float(RankCorrelation.of(np.array([[1.0, 2.0, 9.0], [10.0, 20.0, 30.0], [3.0, 2.0, 1.0]])).mean.round(3))
    -0.333
    """

    total: Float[np.ndarray, "*cell thing"]
    prompts: Int[np.ndarray, "*cell"]
    constant: Int[np.ndarray, "*cell"]

    @classmethod
    def empty(cls, shape: tuple[int, ...], things: int) -> "RankCorrelation":
        """No prompt in any cell.

        Args:
            things: how many are ordered.
        """
        return cls(np.zeros((*shape, things)), np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    @classmethod
    def of(
        cls,
        samples: Float[np.ndarray, "prompt *cell thing"],
        where: Bool[np.ndarray, "prompt *cell thing"] | None = None,
    ) -> "RankCorrelation":
        """Of prompts along the first axis.

        Args:
            where: what is defined, of a shape that broadcasts; a prompt counts where all of its things are.
        """
        there = np.ones(samples.shape[:-1], bool)
        if where is not None:
            there &= np.broadcast_to(where, samples.shape).all(axis=-1)
        ranks = np.zeros(samples.shape)
        ranks[there] = _ranks(samples[there]) - (samples.shape[-1] + 1) / 2
        length = np.sqrt(np.einsum("...t,...t->...", ranks, ranks))
        ordered = there & (length > 0)
        weights = np.divide(1.0, length, where=ordered, out=np.zeros(length.shape))
        total = np.einsum("p...t,p...->...t", ranks, weights)
        return cls(total, ordered.sum(axis=0), (there & ~ordered).sum(axis=0))

    def merged(self, other: "RankCorrelation") -> "RankCorrelation":
        """Of both sets of prompts together."""
        return RankCorrelation(self.total + other.total, self.prompts + other.prompts, self.constant + other.constant)

    @property
    def mean(self) -> Float[np.ndarray, "*cell"]:
        """The mean correlation of two prompts; NaN for fewer than two."""
        pairs = self.prompts * (self.prompts - 1)
        sums = np.square(self.total).sum(axis=-1) - self.prompts
        return np.where(pairs > 0, sums / np.maximum(pairs, 1), np.nan)


def _ranks(samples: np.ndarray) -> Float[np.ndarray, "*cell thing"]:
    """Ranks along the last axis, from 1 on; equal ones have their mean. `scipy.stats.rankdata` takes twice as long.

    >>> _ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist()
    [3.5, 1.0, 3.5, 2.0]
    """
    order = np.argsort(samples, axis=-1)
    ordered = np.take_along_axis(samples, order, axis=-1)
    starts = np.ones(samples.shape, bool)  # of a run of equal ones
    np.not_equal(ordered[..., 1:], ordered[..., :-1], out=starts[..., 1:])
    place = np.arange(samples.shape[-1])
    found = np.broadcast_to(place + 1.0, samples.shape)
    if not starts.all():
        first = np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
        ends = np.concatenate([starts[..., 1:], np.ones((*samples.shape[:-1], 1), bool)], axis=-1)
        last = np.minimum.accumulate(np.where(ends, place, len(place) - 1)[..., ::-1], axis=-1)[..., ::-1]
        found = (first + last) / 2 + 1
    ranks = np.empty(samples.shape)
    np.put_along_axis(ranks, order, found, axis=-1)
    return ranks
