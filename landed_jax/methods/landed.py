"""Landed contributions: direct logit attribution with the final norm's σ held and its γ applied."""

from typing import Any

import jax.numpy as jnp

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._sources import attribute_by_source
from landed_jax.methods._method import Method
from landed_jax.methods._parts import add_to_last_token, direct_scores, last_column
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.tasks._pairs import Pairs


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """Each write's part of the value, of those at the asked position; heads' by the token that they take it from."""
    trace, question = last_column(model, pairs, dtype), pairs.question(model.params, model.config, dtype)
    found = attribute(trace, question, effects=False)
    by_source = jnp.sum(attribute_by_source(trace, question).landed, axis=(0, 2, 3))
    tokens = add_to_last_token(by_source, found.landed.embedding[:, 0])
    error = found.total[:, 0] - found.value[:, 0]
    return direct_scores(pairs, trace, found.landed, tokens, value=found.value[:, 0], conservation_error=error)


METHOD = Method(
    "landed",
    score,
    "Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (direct logit attribution)",
    "the norm's γ and σ are applied to every write, and neurons are written out",
    corrupted=False,
)
