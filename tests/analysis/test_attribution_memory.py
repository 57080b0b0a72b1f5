"""What attribution holds while it runs, by the compiler's own account."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import landed_jax as landed
from landed_jax import ModelConfig
from landed_jax.nn.parameters import abstract_params
from tests.models import random_params

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA schedules on CPU")
CONFIG = ModelConfig(vocab_size=13, d_model=16, n_layers=12, n_heads=2, n_kv_heads=2, head_dim=4, d_ff=512)
LENGTH = 64
FACTORS = CONFIG.n_layers * LENGTH * CONFIG.d_ff * 4


def held(at: list[int] | None, config: ModelConfig = CONFIG, *, effects: bool = False) -> int:
    """Bytes of the temporary values of one attribution."""

    def run(params: dict, ids: jax.Array, norms: landed.nn.WeightNorms) -> Any:
        _, trace = landed.forward(params, ids, config, at=at)
        shares = landed.attribute(trace.bind(params), effects=effects, norms=norms)
        return [part and part.neurons for part in (shares.landed, shares.direct_effect, shares.sigma_share)]

    params = jax.eval_shape(lambda: random_params(config))
    norms = jax.eval_shape(lambda params: landed.writes.weight_norms(params, config), params)
    needs = jax.jit(run).lower(params, jax.ShapeDtypeStruct((1, LENGTH), jnp.int32), norms).compile().memory_analysis()
    assert needs is not None
    return needs.temp_size_in_bytes


@pytest.mark.xla
def test_the_contractions_hold_one_layers_products() -> None:
    # The factors, of which each product takes its factor's place; all layers' products at once would be as much again.
    assert held(None) < 1.7 * FACTORS


@pytest.mark.xla
def test_effects_hold_no_array_of_norms() -> None:
    # Factors, and what each write does to σ. Squared norms of all neurons, made and stacked, would come on top.
    assert held(None, dataclasses.replace(CONFIG, n_layers=6), effects=True) < 3 * FACTORS / 2


@pytest.mark.xla
def test_one_position_holds_one_layer() -> None:
    # Gate, up and activations of one layer; what the picked rows are made of must not wait for the last layer.
    assert held([-1]) < 6 * FACTORS / CONFIG.n_layers


@pytest.mark.xla
@pytest.mark.parametrize(
    "analysis",
    [
        landed.closure_error,
        lambda trace: landed.scale.write_amplification(trace, "norm_ratio").by_write,
        lambda trace: landed.attribution.token_contributions(trace, 3),
    ],
    ids=["closure_error", "write_amplification", "token_contributions"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_analysis_holds_all_layers_weights(analysis: Callable[[landed.Trace], Any], dtype: str) -> None:
    config = dataclasses.replace(CONFIG, d_model=128, n_heads=4, head_dim=64, n_kv_heads=4)
    params = abstract_params(config, jnp.dtype(dtype))
    ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    record = landed.WRITES | landed.SOURCES | landed.NORMED
    trace = jax.eval_shape(lambda p, i: landed.forward(p, i, config, record=record)[1], params, ids)
    needs = jax.jit(lambda p, t: analysis(t.bind(p))).lower(params, trace).compile().memory_analysis()
    assert needs is not None
    of_layer = 4 * config.d_model * (config.n_heads * config.head_dim + config.d_ff)  # W_O and W_down in float32
    assert needs.temp_size_in_bytes < 3 * of_layer


@pytest.mark.xla
def test_memory_does_not_grow_with_the_square_of_the_length() -> None:
    config = dataclasses.replace(CONFIG, n_layers=2, n_heads=8, n_kv_heads=1, d_ff=32, max_positions=8192)
    params, ids = jax.eval_shape(lambda: random_params(config)), jax.ShapeDtypeStruct((1, 8192), jnp.int32)

    def run(params: dict, ids: jax.Array) -> Any:
        found = landed.attribute_streaming(params, ids, config, landed.reduce.top_writes(10), passes=2)
        return found.reduced.landed

    needs = jax.jit(run).lower(params, ids).compile().memory_analysis()
    assert needs is not None
    assert needs.temp_size_in_bytes < 8192**2  # the mask alone would be as much, one head's pattern four times that
