"""Relevance patching: attribution patching with the coefficients of relevance propagation for the derivative."""

from typing import Any

from landed_jax.methods._method import Method
from landed_jax.methods._scores import Scores
from landed_jax.methods.attribution_patching import with_rules
from landed_jax.model import Model
from landed_jax.nn.gradient_rules import RELP
from landed_jax.tasks._pairs import Pairs


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """The change between the prompts times the coefficients at the clean one."""
    return with_rules(model, pairs, RELP, dtype)


METHOD = Method(
    "RelP",
    score,
    "Rezaei Jafari et al., Relevance Patching, 2025, arXiv:2508.21258",
    "coefficients are taken at the clean prompt; patterns are held; norms of queries, of keys and behind blocks are "
    "held as those of the stream; experts' weights are held as patterns are; the sum of the changes times their "
    "coefficients is not the change of the value",
    corrupted=True,
)
