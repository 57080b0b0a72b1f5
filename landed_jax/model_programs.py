"""The compiled programs of `Model`'s methods: one for each kind of layer on a CPU."""

import functools
from typing import Any

import jax

from landed_jax.analysis.reads._questions import Question
from landed_jax.analysis.reduce._reductions import Reduction
from landed_jax.analysis.streaming._attribute_streaming import StreamedAttribution, attribute_streaming
from landed_jax.forward_pass import forward
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.intervention import Intervention
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.parameters import Params
from landed_jax.nn.tap import Plan
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace


@functools.partial(by_layers, static=("config", "plan", "dtype"))
def jitted_forward(
    params: Params,
    tokens: Tokens,
    at: jax.Array | None,
    interventions: tuple[Intervention, ...],
    *,
    config: ModelConfig,
    plan: Plan,
    dtype: Any,
) -> tuple[jax.Array, Trace]:
    how: dict[str, Any] = {"edits": dict(plan.edits), "observers": dict(plan.observers), "dtype": dtype}
    return forward(params, tokens, config, record=plan.record, at=at, interventions=interventions, **how)


@functools.partial(by_layers, static=("config", "reduction", "effects", "plan", "dtype", "passes"))
def jitted_streaming(
    params: Params,
    tokens: Tokens,
    question: Question,
    at: jax.Array | None,
    norms: WeightNorms | None,
    *,
    config: ModelConfig,
    reduction: Reduction,
    plan: Plan,
    **how: Any,
) -> StreamedAttribution:
    return attribute_streaming(
        params, tokens, config, reduction, question, at=at, edits=dict(plan.edits), norms=norms, **how
    )
