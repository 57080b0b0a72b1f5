"""Attribution patching: the change between two prompts times the derivative at the clean one."""

from typing import Any

from landed_jax.interventions._gradients import gradients
from landed_jax.methods._method import Method
from landed_jax.methods._parts import SITES, difference, product, recorded_corrupted, scores_of, tokens_error, value_of
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.gradient_rules import GradientRules
from landed_jax.tasks._pairs import Pairs


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """To first order the clean value less that with a component patched from the corrupted prompt."""
    return with_rules(model, pairs, None, dtype)


def with_rules(model: Model, pairs: Pairs, rules: GradientRules | None, dtype: Any) -> Scores:
    """The same with other derivatives of some steps."""
    question = pairs.question(model.params, model.config, dtype)
    found = gradients(model, pairs.clean, question, SITES, rules=rules, dtype=dtype)
    other = recorded_corrupted(model, pairs, dtype)
    change = found.value[:, -1] - value_of(model, pairs, other)
    products = product(difference(found.values, other), found.slopes)
    error = tokens_error(products, change)  # learned positions are the same in both prompts
    return scores_of(model.config, products, value=change, conservation_error=error, provenance=found.provenance)


METHOD = Method(
    "attribution patching",
    score,
    "Nanda, Attribution Patching, 2023; Syed et al., arXiv:2310.10348",
    "of nodes; the derivative is taken at the clean prompt, as a component is patched there from the corrupted one",
    corrupted=True,
)
