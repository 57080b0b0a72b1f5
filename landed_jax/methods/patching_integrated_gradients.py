"""Attribution patching with integrated gradients: the mean derivative along the line between the prompts."""

from typing import Any

from landed_jax.interventions._gradients import recorded
from landed_jax.interventions._path import mean_slopes
from landed_jax.methods._method import Method
from landed_jax.methods._parts import SITES, difference, product, recorded_corrupted, scores_of, tokens_error, value_of
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks._pairs import Pairs

STEPS = 5


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """A component's change between the prompts times the mean of the derivatives by it along the line between them.

    The mean is by the midpoint rule, as that of ``attribution_patching(…, steps=5)``, in which token embeddings take
    the line.
    """
    clean, corrupted = recorded(model, pairs.clean, SITES, dtype=dtype), recorded_corrupted(model, pairs, dtype)
    question = pairs.question(model.params, model.config, dtype)
    ends = corrupted[HookPoint.EMBEDDING], clean[HookPoint.EMBEDDING]
    slopes = mean_slopes(model, pairs.clean, question, SITES, ends, STEPS, dtype=dtype)
    change = value_of(model, pairs, clean) - value_of(model, pairs, corrupted)
    products = product(difference(clean, corrupted), slopes)
    error = tokens_error(products, change)
    return scores_of(model.config, products, value=change, conservation_error=error, provenance=clean.provenance)


METHOD = Method(
    "attribution patching with integrated gradients",
    score,
    "Hanna et al., Have Faith in Faithfulness, 2024, arXiv:2403.17806",
    f"of nodes, not edges; the midpoints of {STEPS} steps, not their ends",
    corrupted=True,
)
