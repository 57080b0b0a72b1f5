"""Attribution patching with integrated gradients: the mean derivative along the line between the prompts."""

from typing import Any

import jax.numpy as jnp

from landed_jax.methods._method import Method
from landed_jax.methods._parts import SITES, less, recorded_corrupted, scores_of, times, value_of
from landed_jax.methods._paths import along
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks._pairs import Pairs

STEPS = 5


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """A component's change between the prompts times the mean of the derivatives by it at points of the line."""
    corrupted = recorded_corrupted(model, pairs, dtype)
    points = along(model, pairs, corrupted, [step / STEPS for step in range(1, STEPS + 1)], dtype)
    clean = points[-1]
    slopes = {site: jnp.mean(jnp.stack([point.slopes[site] for point in points]), axis=0) for site in SITES}
    change = clean.value[:, -1] - value_of(model, pairs, corrupted)
    products = times(less(clean.values, corrupted), slopes)
    tokens = jnp.sum(products[HookPoint.EMBEDDING], axis=(1, 2))
    return scores_of(
        model.config, products, value=change, conservation_error=tokens - change, provenance=clean.provenance
    )


METHOD = Method(
    "attribution patching with integrated gradients",
    score,
    "Hanna et al., Have Faith in Faithfulness, 2024, arXiv:2403.17806",
    f"of nodes, not edges; {STEPS} points, the clean prompt the last of them",
    corrupted=True,
)
