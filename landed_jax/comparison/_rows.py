"""What was found of each method at one level."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from landed_jax.comparison._correlation import Correlation
from landed_jax.comparison._curves import Curve, kept_counts, top_masks
from landed_jax.comparison._evidence import Evidence
from landed_jax.plotted import Plotted


@dataclass(frozen=True, eq=False)
class Row:
    """One method at one level, under one ablation.

    Attributes:
        correlation: with the measured effects; None where none were measured.
        by_score: circuits of the components with the largest scores, of which MIB takes CPR.
        by_size: of those with the largest |scores|, of which it takes CMD.
        without: the model without those with the largest scores.
        fine: `by_score`, with more sizes about the smallest circuit that is enough.
    """

    method: str
    correlation: Correlation | None
    by_score: Curve
    by_size: Curve
    without: Curve
    fine: Curve

    def finer(self, count: int, value: Float[np.ndarray, " prompt"]) -> "Row":
        """With one more circuit of the components with the largest scores."""
        return dataclasses.replace(self, fine=self.fine.joined(count, value))


@dataclass(frozen=True, eq=False)
class LevelComparison(Plotted):
    """All methods at one level, under one ablation.

    Attributes:
        components: how many there are.
        measured: how many of them were ablated alone.
        keeps: what no circuit ablates.
    """

    level: str
    ablation: str
    components: int
    measured: int
    keeps: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class MethodFacts:
    """What a method is at any level.

    Attributes:
        cost: as a multiple of a forward pass.
        conservation: mean |error of the sum| over mean |value|; None where no sum has a meaning.
    """

    name: str
    reference: str
    differs: str
    cost: float
    conservation: float | None
    evidence: Evidence | None


def masks_of(
    scores: Float[np.ndarray, "layer component"], fractions: Sequence[float]
) -> Bool[np.ndarray, "curve size layer component"]:
    """What each circuit keeps of the three curves of a `Row`."""
    counts = kept_counts(scores.size, fractions)
    by_score = top_masks(scores, counts, absolute=False)
    return np.stack([by_score, top_masks(scores, counts, absolute=True), ~by_score])


def row_of(
    method: str,
    correlation: Correlation | None,
    fractions: Sequence[float],
    components: int,
    values: Float[np.ndarray, "curve size prompt"],
    whole: Float[np.ndarray, " prompt"],
    nothing: Float[np.ndarray, " prompt"],
) -> Row:
    """A method's curves from the values of its circuits."""
    share, counts = np.array(fractions), kept_counts(components, fractions)
    by_score, by_size, without = (Curve(share, counts, kept, whole, nothing) for kept in values)
    return Row(method, correlation, by_score, by_size, without, by_score)
