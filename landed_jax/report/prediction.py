"""What the model itself predicts: probabilities, ranks, and the likeliest tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

LISTED = 5
"""How many of the likeliest tokens are shown."""


@dataclass(frozen=True)
class Chances:
    """Tokens with their logits, log-probabilities (nats) and ranks (0: the likeliest; equal logits share the best)."""

    ids: Int[np.ndarray, " token"]
    logits: Float[np.ndarray, " token"]
    log_probabilities: Float[np.ndarray, " token"]
    ranks: Int[np.ndarray, " token"]


@dataclass(frozen=True)
class Prediction:
    """The tokens that a run asks for (the target, and what it is held against), and the likeliest ones."""

    asked: Chances
    likeliest: Chances


def predict(logits: Float[np.ndarray, " vocab"], asked: Sequence[int]) -> Prediction:
    """The chances of the next token at one position, in float64. In NumPy: there is nothing to compile.

    >>> found = predict(np.log([0.7, 0.1, 0.2]), [1])
    >>> found.asked.ranks.tolist(), found.likeliest.ids.tolist()
    ([2], [0, 2, 1])
    """
    logits = np.asarray(logits, np.float64)
    likeliest = np.argsort(-logits, kind="stable")[:LISTED]
    return Prediction(_chances(logits, np.array(asked)), _chances(logits, likeliest))


def _chances(logits: np.ndarray, ids: np.ndarray) -> Chances:
    log_probabilities = np.array([_log_probability(logits, token) for token in ids])
    return Chances(ids, logits[ids], log_probabilities, np.array([np.sum(logits > logits[token]) for token in ids]))


def _log_probability(logits: np.ndarray, token: int) -> float:
    """−log(1 + Σ_others e^(l − own)): it keeps its digits where the model is sure, unlike own − log Σ e^l."""
    others = np.delete(logits, token) - logits[token]
    if not others.size:
        return 0.0
    above = max(others.max(), 0.0)  # so that no exponential is infinite
    rest = np.sum(np.exp(others - above))
    return -float(np.log1p(rest)) if above == 0 else -float(above + np.log(np.exp(-above) + rest))
