"""Programs of other parts than the analyses lower for a CPU, a GPU and a TPU, without one of these."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import landed_jax as landed
from landed_jax import ModelConfig, Tokens
from landed_jax.generation import choose, decode_step, prefill
from landed_jax.interventions._chunks import Chunk
from landed_jax.interventions._stages import Span, after_layer, clean_pass
from landed_jax.nn.parameters import Params, stack_layers
from landed_jax.studies._program import measure
from landed_jax.studies.keeps import keeps
from landed_jax.tokens import as_tokens
from tests.models import EXPERTS, SMALL, random_params

PLATFORMS = ("cpu", "cuda", "tpu")
# Wide enough for a TPU's selection of the largest in place of a sort.
WIDE = ModelConfig(vocab_size=13, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=2, d_ff=2048)
REDUCTIONS = {
    "everything": landed.reduce.everything(),
    "layer_sums": landed.reduce.layer_sums(),
    "top_writes": landed.reduce.top_writes(9),
    "top_per_position": landed.reduce.top_per_position(9),
    "histogram": landed.reduce.histogram([0.0, 1.0]),
}


def lowers(function: Callable[..., Any], config: ModelConfig, shape: tuple[int, int] = (2, 6)) -> None:
    params: Params = jax.eval_shape(lambda: stack_layers(random_params(config)))
    ids = jax.ShapeDtypeStruct(shape, jnp.int32)
    assert jax.export.export(jax.jit(function), platforms=PLATFORMS)(params, ids).platforms == PLATFORMS


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("config", [WIDE, EXPERTS], ids=["wide", "experts"])
def test_streaming(config: ModelConfig, name: str) -> None:
    def run(params: Params, ids: jax.Array) -> Any:
        found = landed.attribute_streaming(params, ids, config, REDUCTIONS[name], effects=True, passes=2)
        return jax.tree.leaves(found)

    lowers(run, config)


def test_a_studys_step() -> None:
    def run(params: Params, ids: jax.Array) -> Any:
        mask, answers = jnp.ones(ids.shape, bool), jnp.zeros((len(ids), 0), jnp.int32)
        how: Any = {"config": SMALL, "keeps": tuple(keeps().values()), "position": -1, "dtype": jnp.dtype("float32")}
        return jax.tree.leaves(measure(params, Tokens(ids, mask), answers, answers, ~mask, None, **how))

    lowers(run, SMALL)


@pytest.mark.parametrize("config", [SMALL, EXPERTS], ids=["small", "experts"])
def test_steps_of_a_generation(config: ModelConfig) -> None:
    def run(params: Params, ids: jax.Array) -> Any:
        logits, cache = prefill(params, ids, config, capacity=8)
        return decode_step(params, cache, choose(logits, jax.random.key(0)), config)[0]

    lowers(run, config)


def test_a_sweeps_stages() -> None:
    stack, span = landed.interventions.every_head(SMALL), Span(0, 6)
    batch = Chunk(tuple(range(4)), stack.members[:4], 0, 0, span, 4).batch()

    def run(params: Params, ids: jax.Array) -> Any:
        tokens = as_tokens(ids)
        trace, shared = clean_pass(params, tokens, (), config=SMALL, dtype=jnp.dtype("float32"))
        how: Any = {"config": SMALL, "kind": SMALL.kinds[0], "span": span, "runs": 4, "last": False, "together": True}
        changed: Any = {"tree": batch.tree, "axes": batch.axes}
        stream, at = trace[landed.HookPoint.ATTN_RESIDUAL], jnp.array([5])
        return after_layer(params["layers"], stream, jnp.array(0), shared, batch.leaves, at, **changed, **how)[0]

    lowers(run, SMALL)
