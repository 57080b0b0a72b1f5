"""Direct effects: the value less that without a write at the asked position, σ recomputed."""

from typing import Any

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.methods._method import Method
from landed_jax.methods._parts import direct_scores, last_column
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.tasks._pairs import Pairs


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """By the closed form of `attribute`; nothing runs again."""
    trace, question = last_column(model, pairs, dtype), pairs.question(model.params, model.config, dtype)
    found = attribute(trace, question)
    assert found.direct_effect is not None  # effects are asked for by default
    error = (found.direct_effect.total() + found.offset - found.value)[:, 0]
    return direct_scores(pairs, trace, found.direct_effect, None, value=found.value[:, 0], conservation_error=error)


METHOD = Method(
    "direct effect",
    score,
    "McGrath et al., The Hydra Effect, 2023, arXiv:2307.15771 (the direct effect of a layer)",
    "a write is taken out, not resampled, and the σ of the final norm is recomputed",
    corrupted=False,
)
