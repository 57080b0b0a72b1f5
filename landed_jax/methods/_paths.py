"""Runs along the straight line of embeddings from the corrupted prompt to the clean one."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from landed_jax.interventions._gradients import Gradients, gradients, recorded
from landed_jax.interventions._intervene import intervene
from landed_jax.methods._parts import SITES
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks._pairs import Pairs
from landed_jax.trace import Trace


def along(model: Model, pairs: Pairs, corrupted: Trace, parts: Sequence[float], dtype: Any) -> list[Gradients]:
    """Values and slopes at points of the line: 0 is the corrupted prompt, 1 the clean one.

    Args:
        corrupted: of the corrupted prompts, with what passes `SITES`.
    """
    question = pairs.question(model.params, model.config, dtype)
    start = corrupted[HookPoint.EMBEDDING]
    end = recorded(model, pairs.clean, {HookPoint.EMBEDDING}, dtype=dtype)[HookPoint.EMBEDDING]
    found = []
    for part in parts:
        here = start + (end - start) * jnp.asarray(part, start.dtype)
        always = intervene(HookPoint.EMBEDDING, "replace", here)
        found.append(gradients(model, pairs.clean, question, SITES, always=always, dtype=dtype))
    return found
