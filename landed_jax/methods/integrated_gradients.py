"""Integrated gradients along the line of embeddings from the corrupted prompt to the clean one."""

import itertools
from typing import Any

import jax.numpy as jnp

from landed_jax.interventions._gradients import recorded
from landed_jax.interventions._path import along, whole_steps
from landed_jax.methods._method import Method
from landed_jax.methods._parts import SITES, recorded_corrupted, scores_of, tokens_error
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks._pairs import Pairs

STEPS = 8


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None, steps: int = STEPS) -> Scores:
    """The integral of the derivative by each component along the path that the component takes.

    Each step has the mean of the derivatives at its ends times the component's change (the trapezoidal rule). Of input
    tokens this is integrated gradients; of heads and neurons, conductance. The tokens' scores sum to the change of the
    value, up to an error that falls with the square of `steps`.
    """
    steps = whole_steps(steps)
    start = recorded_corrupted(model, pairs, dtype)[HookPoint.EMBEDDING]
    end = recorded(model, pairs.clean, {HookPoint.EMBEDDING}, dtype=dtype)[HookPoint.EMBEDDING]
    question, parts = pairs.question(model.params, model.config, dtype), [step / steps for step in range(steps + 1)]
    points = list(along(model, pairs.clean, question, SITES, (start, end), parts, dtype=dtype))
    products = {site: jnp.zeros_like(value) for site, value in points[0].values.items()}
    for first, second in itertools.pairwise(points):
        for site in products:
            slope = (first.slopes[site] + second.slopes[site]) / 2
            products[site] += slope * (second.values[site] - first.values[site])
    change = points[-1].value[:, -1] - points[0].value[:, -1]
    error, known = tokens_error(products, change), points[-1].provenance
    return scores_of(model.config, products, value=change, conservation_error=error, provenance=known)


METHOD = Method(
    "integrated gradients",
    score,
    "Sundararajan et al., Axiomatic Attribution, 2017, arXiv:1703.01365; Dhamdhere et al., How Important Is a Neuron?, "
    "2018, arXiv:1805.12233 (heads and neurons)",
    f"{STEPS} steps by the trapezoidal rule; the baseline is the corrupted prompt's embeddings",
    corrupted=True,
)
