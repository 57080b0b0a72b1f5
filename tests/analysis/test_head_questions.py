"""Questions about queries and keys that pass a norm, against what the model recorded."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, HookPoint, LandedError
from landed_jax.nn.config import ModelConfig
from tests.models import SMALL, random_params

NORMED = dataclasses.replace(SMALL, qk_norm="head", rotary_layers=(True, False), gain_offset=1.0)
OLMO = dataclasses.replace(
    NORMED, qk_norm="width", gain_offset=0.0, input_norms=False, output_norms=True, sliding_window=2
)
VECTOR = np.linspace(-1, 2, SMALL.head_dim)


@pytest.mark.parametrize(("part", "point"), [("query", HookPoint.QUERY), ("key", HookPoint.KEY)])
@pytest.mark.parametrize("config", [NORMED, OLMO], ids=["of each head", "over all heads, of the stream itself"])
def test_a_query_is_what_the_model_compares(config: ModelConfig, part: str, point: HookPoint, x64: None) -> None:
    params = random_params(config, dtype=jnp.float64)
    ids = jnp.array([[1, 5, 2, 7], [3, 3, 8, 0]])
    run = jax.jit(lambda p: landed.forward(p, ids, config, record=WRITES | RESIDUALS | {point})[1])
    trace = run(params).bind(params)
    shares = landed.attribute(trace, landed.Head(1, 2, part, jnp.asarray(VECTOR)))
    recorded = trace[point][1][:, :, 2 if part == "query" else 2 // config.group_size] @ VECTOR
    np.testing.assert_allclose(shares.value, recorded, atol=1e-12)  # the layer does not rotate
    assert float(shares.closure_error.max()) < 1e-12


def test_what_would_have_no_offset_is_refused() -> None:
    config = dataclasses.replace(NORMED, qkv_bias=True)
    params = random_params(config)
    _, trace = landed.forward(params, jnp.array([[1, 5]]), config, record=WRITES | RESIDUALS)
    with pytest.raises(LandedError, match="bias and passes a norm"):
        landed.attribute(trace.bind(params), landed.Head(1, 2, "query", jnp.asarray(VECTOR, jnp.float32)))


def test_a_float64_trace_outside_of_64_bits_is_refused() -> None:
    model = landed.Model(SMALL, random_params(SMALL))
    with jax.enable_x64(True):
        trace = model.trace([[1, 5, 2]], dtype="float64")
    with pytest.raises(LandedError, match="JAX_ENABLE_X64=1"):
        landed.attribute(trace, 4)
