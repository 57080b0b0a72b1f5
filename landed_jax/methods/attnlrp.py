"""AttnLRP: relevance propagated back through attention too."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from landed_jax.interventions._gradients import gradients
from landed_jax.methods._constants import constants_share
from landed_jax.methods._method import Method
from landed_jax.methods._parts import SITES, product, scores_of
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.gradient_rules import ATTNLRP
from landed_jax.nn.hook_points import HookPoint, has
from landed_jax.numerics import compute_dtype
from landed_jax.tasks._pairs import Pairs

_SOFTMAXES = (
    (HookPoint.PATTERN, (HookPoint.QUERY, HookPoint.KEY)),
    (HookPoint.EXPERT_WEIGHT, (HookPoint.ROUTER,)),
)


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """Each component's value times its coefficient: its relevance.

    The value is the sum of the tokens' relevances, of the learned positions', of what biases add, and of what each
    softmax keeps: its own expansion at its point has a constant, as a bias is one.
    """
    config, dtype = model.config, compute_dtype(dtype)
    question = pairs.question(model.params, config, dtype)
    softmaxes = [(above, below) for above, below in _SOFTMAXES if has(config, above)]
    positions = [HookPoint.POSITION_EMBEDDING] if config.learned_positions else []
    sites = {*SITES, *positions, *(site for above, below in softmaxes for site in (above, *below))}
    found = gradients(model, pairs.clean, question, sites, rules=ATTNLRP, dtype=dtype)
    relevance, value = product(found.values, found.slopes), found.value[:, -1]
    how: dict[str, Any] = {"config": config, "rules": ATTNLRP, "dtype": dtype}
    total = constants_share(model.params, pairs.clean, question.vector[:, 0], **how)
    for site in (HookPoint.EMBEDDING, *positions):
        total += _sum(relevance, site)
    for above, below in softmaxes:
        total += _sum(relevance, above) - sum(_sum(relevance, site) for site in below)
    return scores_of(config, relevance, value=value, conservation_error=total - value, provenance=found.provenance)


def _sum(relevance: Mapping[HookPoint, jax.Array], site: HookPoint) -> jax.Array:
    """Of each prompt."""
    whole = relevance[site]
    batch = 0 if site in (HookPoint.EMBEDDING, HookPoint.POSITION_EMBEDDING) else 1
    return jnp.sum(whole, axis=tuple(axis for axis in range(whole.ndim) if axis != batch))


METHOD = Method(
    "AttnLRP",
    score,
    "Achtibat et al., AttnLRP, 2024, arXiv:2402.05602",
    "linear maps have no ε or γ of their own (the 0-rule); norms of queries, of keys and behind blocks have the rule "
    "of the stream's; experts' weights have the rules of patterns; a cap of scores is as an activation",
    corrupted=False,
)
