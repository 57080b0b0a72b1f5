"""Small random models on aligned prompts, and what their nodes write by the NumPy reference."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import landed_jax as landed
from landed_jax.circuits import Graph
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import unstack_layers
from landed_jax.tasks import Pairs
from tests.models import random_params, random_tokens
from tests.reference.numpy_model import numpy_forward

FINAL = frozenset({landed.HookPoint.FINAL_NORMED, landed.HookPoint.FINAL_GAMMA})
MEASURE = landed.Logit(1, against=0)
_forward = jax.jit(landed.forward, static_argnames=("config", "record"))


def model_of(config: ModelConfig, hold: Any = lambda params: params, dtype: Any = np.float64) -> landed.Model:
    return landed.Model(config, hold(random_params(config, dtype=dtype)))


def pairs_for(config: ModelConfig, lengths: tuple[int, ...] = (5, 3)) -> Pairs:
    """Two batches of other ids, padded on the left; answered by tokens 1 and 0, of which one prompt has a third."""
    clean, corrupted = (random_tokens(config, seed, lengths) for seed in (0, 1))
    count = len(lengths)
    return Pairs(clean, corrupted, jnp.tile(jnp.array([[1, -1]]), (count, 1)), jnp.tile(jnp.array([[0]]), (count, 1)))


def value_of(model: landed.Model, tokens: Any, interventions: Any = ()) -> np.ndarray:
    """The difference of the two tokens' uncapped logits at the last column, by an ordinary run."""
    trace = run(model, tokens, interventions, FINAL)
    return np.asarray(landed.resolve(trace, MEASURE).value)[:, -1]


def run(model: landed.Model, tokens: Any, interventions: Any = (), record: Any = landed.WRITES) -> landed.Trace:
    _, trace = _forward(model.params, tokens, model.config, record=record, interventions=interventions)
    return trace.bind(model.params)


def reference_writes(model: landed.Model, tokens: Any) -> np.ndarray:
    """``[sender, batch, position, d_model]``, 0 on padding."""
    params, config = unstack_layers(model.params), model.config
    seen = numpy_forward(params, tokens.ids, tokens.mask, config)
    writes = [seen["embedding"] + seen.get("position_embedding", 0)]
    for layer in range(config.n_layers):
        writes += list(np.moveaxis(seen["head_write"][layer], 2, 0))
        writes.append(seen["neuron_write"][layer].sum(2) + seen["mlp_bias"][layer])
    return np.stack(writes)


def patched_only(graph: Graph, senders: Any, reads: Any) -> np.ndarray:
    """What a circuit keeps, of which just these edges are cut."""
    return ~graph.between(senders, reads)[None]
