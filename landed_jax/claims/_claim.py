"""A published claim, and the readings under which it can be measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.trace import Trace

Rows = np.ndarray
"""``[prompt, …]``: what was measured of each prompt."""

ODONNELL = "O'Donnell, Using Landed Writes, LessWrong, 2025-07-22"


def for_every_model(config: ModelConfig) -> str:
    """No reason why a reading would not apply."""
    return ""


def only_of(name: str, **sizes: int) -> Callable[[ModelConfig], str]:
    """A claim about one model, told by its sizes: why it is not about another one."""

    def reason(config: ModelConfig) -> str:
        same = all(getattr(config, size) == value for size, value in sizes.items())
        return "" if same else f"it is about {name}"

    return reason


def mean_of_known(rows: Rows) -> float:
    """The mean of what was measured; nan where nothing was (prompts of one token have no later ones)."""
    known = rows[~np.isnan(rows)]
    return float(known.mean()) if known.size else float("nan")


def largest(rows: Rows) -> float:
    """The largest of all prompts."""
    return float(rows.max())


def within_rounding(value: float) -> bool:
    """Whether a relative error is one of float32 sums."""
    return value <= 1e-4


@dataclass(frozen=True)
class Reading:
    """One way to read a claim's words.

    Attributes:
        name: what is measured, in words.
        published: the claim's own figure, as text.
        rows: which of the claim's measurements it is of.
        value: from the rows of some prompts to one number, in `unit`.
        holds: whether a value is what the claim says.
        unit: "×", "%", "coordinates"; "" for a bare number.
        applies: "" where the claim is about such a model, else why not: it is measured all the same, without a verdict.
    """

    name: str
    published: str
    rows: str
    value: Callable[[Rows], float]
    holds: Callable[[float], bool]
    unit: str = ""
    applies: Callable[[ModelConfig], str] = for_every_model


@dataclass(frozen=True)
class Claim:
    """What was published, and how it is measured.

    Attributes:
        name: a short name.
        statement: what is claimed, in our words.
        source: where.
        measure: from a model and a trace of some prompts (all positions, padded on the left, with `WRITES` and logits)
            to arrays ``[batch, …]`` by name.
        readings: of the claim, for a model's config.
    """

    name: str
    statement: str
    source: str
    measure: Callable[[Model, Trace], Mapping[str, Rows]]
    readings: Callable[[ModelConfig], tuple[Reading, ...]]
