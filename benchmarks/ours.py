"""This package's programs: functions ``(params, ids, config, …) -> arrays``, each compiled as one program."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax

import landed_jax as landed
from landed_jax import ModelConfig
from landed_jax.nn import WeightNorms
from landed_jax.nn.parameters import Params

Arrays = Mapping[str, Any]
Program = Callable[..., Arrays]


def forward(params: Params, ids: jax.Array, config: ModelConfig) -> Arrays:
    """Logits of every position, nothing recorded."""
    return {"logits": landed.forward(params, ids, config, record=frozenset())[0]}


def forward_last(params: Params, ids: jax.Array, config: ModelConfig) -> Arrays:
    """Logits of the last position, nothing recorded."""
    return {"logits": landed.forward(params, ids, config, record=frozenset(), at=[-1])[0]}


def last(params: Params, ids: jax.Array, config: ModelConfig) -> Arrays:
    """Every write's share of the last position's top logit."""
    return _attributed(params, ids, config, at=[-1], effects=False)


def all_positions(params: Params, ids: jax.Array, config: ModelConfig) -> Arrays:
    """Every write's share of each position's own top logit."""
    return _attributed(params, ids, config, at=None, effects=False)


def all_positions_with_effects(params: Params, ids: jax.Array, config: ModelConfig) -> Arrays:
    """The same with direct effects and σ shares."""
    return _attributed(params, ids, config, at=None, effects=True)


def all_positions_with_effects_and_norms(
    params: Params, ids: jax.Array, config: ModelConfig, norms: WeightNorms
) -> Arrays:
    """The same, with `weight_norms` computed before."""
    return _attributed(params, ids, config, at=None, effects=True, norms=norms)


def top_in_one_pass(params: Params, ids: jax.Array, config: ModelConfig) -> Arrays:
    """The 1,000 largest contributions of all writes at all positions, in one pass, which keeps the factors."""
    return _streamed(params, ids, config, 1)


def top_in_two_passes(params: Params, ids: jax.Array, config: ModelConfig) -> Arrays:
    """The same in two passes, which run the layers twice."""
    return _streamed(params, ids, config, 2)


def _streamed(params: Params, ids: jax.Array, config: ModelConfig, passes: Literal[1, 2]) -> Arrays:
    found = landed.attribute_streaming(params, ids, config, landed.reduce.top_writes(1000), passes=passes)
    return {"top": found.reduced, "value": found.value, "closure_error": found.closure_error}


def _attributed(
    params: Params,
    ids: jax.Array,
    config: ModelConfig,
    *,
    at: list[int] | None,
    effects: bool,
    norms: WeightNorms | None = None,
) -> Arrays:
    _, trace = landed.forward(params, ids, config, at=at)
    shares = landed.attribute(trace.bind(params), effects=effects, norms=norms)
    found = {"landed": shares.landed, "value": shares.value, "closure_error": shares.closure_error}
    return {**found, "direct_effect": shares.direct_effect, "sigma_share": shares.sigma_share} if effects else found


def compiled(
    function: Program, params: Params, ids: jax.Array, config: ModelConfig, *others: Any
) -> jax.stages.Compiled:
    """The function as one program for prompts of this length, ready to run on ``(params, ids, *others)``."""
    program = jax.jit(lambda params, ids, *others: function(params, ids, config, *others))
    return program.lower(params, ids, *others).compile()


def needs(program: jax.stages.Compiled) -> int | None:
    """The bytes of a program's results and temporaries, where the compiler gives them."""
    analysis = program.memory_analysis()
    return None if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def finished(result: Any) -> Any:
    """The result, after its computation has finished."""
    return jax.block_until_ready(result)
