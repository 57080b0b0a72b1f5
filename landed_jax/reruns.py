"""A result made again, beside the one that is stored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDINGS = 256
"""Of float rounding in a sum as long as a model is wide: two right programs differ by up to this many units."""

_INPUTS = ("model.weights ", "prompts.digest ")  # fields of a manifest


@dataclass(frozen=True)
class Difference:
    """How far a variable's numbers are from those of another run.

    Attributes:
        largest: the largest difference of two numbers.
        allowed: the variable's error bar.
        numbers: how many were compared.
        changed: how many differ at all.
    """

    name: str
    largest: float
    allowed: float
    numbers: int
    changed: int

    @property
    def within(self) -> bool:
        """Whether the difference is within the error bar."""
        return self.largest <= self.allowed


@dataclass(frozen=True)
class Rerun:
    """What a second run of a result differs in.

    Attributes:
        prompts: how many.
        made: in what their manifests differ, in words.
        differences: of every variable.
    """

    prompts: int
    made: Sequence[str]
    differences: Sequence[Difference]

    @property
    def same(self) -> bool:
        """Whether it was the same model and the same prompts, and nothing is beyond its error bar."""
        of_another = any(said.startswith(_INPUTS) for said in self.made)
        return not of_another and all(difference.within for difference in self.differences)


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far two arrays' numbers are apart; 0 where both are the same number, infinity or NaN."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):  # infinity less infinity, where they are the same
        return np.where(same, 0.0, np.where(np.isnan(one) | np.isnan(other), np.inf, np.abs(one - other)))
