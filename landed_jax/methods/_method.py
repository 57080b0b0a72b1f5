"""A method as a value: its function, its source, and where it deviates from it."""

from dataclasses import dataclass
from typing import Any, Protocol

from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.tasks._pairs import Pairs


class Score(Protocol):
    """Scores of the clean prompts' answers, read at their last column."""

    def __call__(self, model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores: ...


@dataclass(frozen=True)
class Method:
    """One way to score components. Each file of the package whose name has no underscore holds one, `METHOD`.

    Attributes:
        score: pure in the prompts and weights.
        reference: where it was published.
        differs: where this form deviates from its source; "" where it does not.
        corrupted: whether it uses the corrupted prompts.
        neurons: whether it scores neurons (where a model's neurons can be scored: it has no experts).
    """

    name: str
    score: Score
    reference: str
    differs: str
    corrupted: bool
    neurons: bool = True
