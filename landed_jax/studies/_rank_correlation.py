"""The mean rank correlation of all pairs of prompts, without any pair of them."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats


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
        ranks = stats.rankdata(samples, axis=-1) - (samples.shape[-1] + 1) / 2
        length = np.sqrt(np.square(ranks).sum(axis=-1))
        ordered = there & (length > 0)
        ranks /= np.where(ordered, length, 1.0)[..., None]
        total = ranks.sum(axis=0, where=ordered[..., None])
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
