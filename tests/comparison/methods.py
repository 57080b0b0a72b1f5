"""Methods whose scores are known: the measured effects themselves, their reverse, and chance."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import landed_jax as landed
from landed_jax.comparison import head_effects
from landed_jax.comparison._scoring import BatchScores
from landed_jax.tasks import Pairs


@dataclass
class Scripted:
    """Heads by their effects times a factor, or by chance; neurons by chance, the evidence token by all."""

    name: str
    factor: float | None
    calls: int = 0
    reference: str = "made up"
    differs: str = ""
    neurons: bool = True

    def score(self, model: landed.Model, pairs: Pairs, *, dtype: Any = None) -> BatchScores:
        """The scores."""
        self.calls += 1
        config, (batch, length) = model.config, pairs.clean.ids.shape
        random = np.random.default_rng(3)
        heads = random.normal(size=(config.n_layers, batch, config.n_heads))
        if self.factor is not None:
            heads = head_effects(model, pairs, "zero", dtype=dtype) * self.factor
        neurons = random.normal(size=(config.n_layers, batch, config.d_ff))
        tokens = np.eye(length)[np.asarray(pairs.evidence)]
        return BatchScores(heads, neurons, tokens, np.full(batch, 2.0), np.full(batch, -0.5), 0.0)


def scripted() -> list[Scripted]:
    """The truth, the truth reversed, and chance."""
    return [Scripted("truth", 1.0), Scripted("reversed", -1.0), Scripted("chance", None)]
