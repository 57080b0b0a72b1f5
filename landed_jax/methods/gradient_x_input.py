"""Gradient × input: each component's own value times the derivative by it, all at the clean prompt."""

from typing import Any

from landed_jax.interventions._gradients import gradients
from landed_jax.methods._method import Method
from landed_jax.methods._parts import SITES, product, scores_of, tokens_error
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.hook_points import EMBEDDINGS, present
from landed_jax.tasks._pairs import Pairs


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """To first order the change of the value when a component is set to 0."""
    question = pairs.question(model.params, model.config, dtype)
    found = gradients(model, pairs.clean, question, SITES | present(EMBEDDINGS, model.config), dtype=dtype)
    products, value = product(found.values, found.slopes), found.value[:, -1]
    error = tokens_error(products, value)
    return scores_of(model.config, products, value=value, conservation_error=error, provenance=found.provenance)


METHOD = Method(
    "gradient x input",
    score,
    "Shrikumar et al., Not Just a Black Box, 2016, arXiv:1605.01713",
    "also of heads and neurons, not of input alone",
    corrupted=False,
)
