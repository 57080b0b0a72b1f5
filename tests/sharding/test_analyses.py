"""Every analysis on a mesh: the numbers of one device, and results that stay cut over the devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import landed_jax as landed
from landed_jax import RESIDUALS, ModelConfig, Trace
from landed_jax.analysis.registry import Analysis, analyses
from landed_jax.mesh import mesh_of
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.sharding import abstract_on_mesh, beside, cut
from tests.models import CONFIGS, EXPERTS, FEW, random_params

IDS = np.array([[1, 5, 2], [3, 3, 8]])
ANALYSES = analyses()
FIRST = ("attribute", "closure_error", "lens_top_tokens")  # in `make test`; the others in `make slow`
MODELS = {
    # Heads, key heads and neurons that four devices divide; and a vocabulary that they do not.
    "cut": ModelConfig(vocab_size=13, d_model=16, n_layers=2, n_heads=8, n_kv_heads=4, head_dim=4, d_ff=24),
    # Key heads that are fewer than the devices.
    "few key heads": ModelConfig(vocab_size=64, d_model=16, n_layers=2, n_heads=8, n_kv_heads=2, head_dim=4, d_ff=24),
    "experts": EXPERTS,
}


def on_mesh(config: ModelConfig, params: Any, mesh: Mesh) -> Any:
    stacked = "attn" in params["layers"]
    shapes = abstract_on_mesh(config, mesh, jnp.float32, stacked)
    return jax.tree.map(lambda leaf, shape: jax.device_put(leaf, shape.sharding), params, shapes)


def call(analysis: Analysis, params: Any, ids: Any, config: ModelConfig) -> Any:
    _, trace = landed.forward(params, ids, config, record=analysis.record | RESIDUALS)
    trace = trace.bind(params)
    asked = (4,) if analysis.asks else ()
    return analysis.function(trace, *asked, **analysis.example(trace))


def close(found: Any, expected: Any) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-9, rtol=1e-9)


CASES = [
    pytest.param(name, model, marks=() if name in FIRST and model == "cut" else pytest.mark.slow, id=f"{name}-{model}")
    for name in ANALYSES
    for model in MODELS
]


@pytest.mark.parametrize(("name", "model"), CASES)
def test_numbers_of_one_device(name: str, model: str, x64: None) -> None:
    config, mesh = MODELS[model], mesh_of("data=2,model=4")
    params = stack_layers(random_params(config, dtype=jnp.float64))
    expected = call(ANALYSES[name], params, jnp.asarray(IDS), config)
    cut_params = on_mesh(config, params, mesh)
    run = jax.jit(lambda params, ids: jax.tree.leaves(call(ANALYSES[name], params, ids, config)))
    close(run(cut_params, beside(cut_params, jnp.asarray(IDS))), jax.tree.leaves(expected))


@pytest.mark.parametrize("name", FEW)
def test_a_model_on_a_mesh_keeps_its_results_cut(name: str, x64: None) -> None:
    config, mesh = CONFIGS[name], mesh_of("data=2,model=2")
    params = random_params(config, dtype=jnp.float64)
    one, other = (landed.Model(config, held) for held in (params, on_mesh(config, stack_layers(params), mesh)))
    expected, found = (landed.attribute(model.trace(jnp.asarray(IDS)), 4, against=2) for model in (one, other))
    close(found, expected)
    for numbers, axis in ((found.landed.neurons, "neuron"), (found.landed.heads, "head")):
        held = numbers.addressable_shards[0].data.shape
        wanted = cut(("layer", "batch", "position", axis), numbers.shape, mesh)
        assert held == NamedSharding(mesh, wanted).shard_shape(numbers.shape)


def _explicit(config: ModelConfig, params: Any) -> tuple[Any, jax.Array]:
    """Parameters and ids on the explicit mesh that is set."""
    mesh = jax.sharding.get_mesh()
    shapes = abstract_on_mesh(config, mesh, jnp.float32, "attn" in params["layers"])

    def place(leaf: jax.Array, shape: jax.ShapeDtypeStruct) -> jax.Array:
        return jax.device_put(leaf, NamedSharding(mesh, shape.sharding.spec))

    return jax.tree.map(place, params, shapes), jax.device_put(IDS, NamedSharding(mesh, PartitionSpec("data")))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in ANALYSES]
)
def test_where_a_mesh_with_explicit_axes_is_set(name: str, x64: None) -> None:
    config = MODELS["cut"]
    params = stack_layers(random_params(config, dtype=jnp.float64))
    expected = jax.tree.leaves(call(ANALYSES[name], params, jnp.asarray(IDS), config))
    with jax.set_mesh(jax.make_mesh((2, 4), ("data", "model"), (AxisType.Explicit,) * 2)):
        given = _explicit(config, params)

        def run(params: Any, ids: jax.Array) -> list[jax.Array]:
            return jax.tree.leaves(call(ANALYSES[name], params, ids, config))

        close(jax.jit(run)(*given), expected)
        close(run(*given), expected)


def test_values_are_cut_by_the_names_of_their_axes() -> None:
    config = MODELS["cut"]
    with jax.set_mesh(jax.make_mesh((2, 4), ("data", "model"), (AxisType.Explicit,) * 2)):
        params, ids = _explicit(config, stack_layers(random_params(config, dtype=jnp.float64)))

        def run(params: Any, ids: jax.Array) -> tuple[jax.Array, Trace]:
            return landed.forward(params, ids, config)

        for logits, trace in (run(params, ids), jax.jit(run)(params, ids)):
            assert jax.typeof(trace[HookPoint.NEURON]).sharding.spec == PartitionSpec(None, "data", None, "model")
            assert jax.typeof(logits).sharding.spec[0] == "data"  # 13 tokens are not cut into four
        shares = landed.attribute(trace.bind(params), 4)
        assert jax.typeof(shares.landed.heads).sharding.spec == PartitionSpec(None, "data", None, "model")


def test_one_axis_of_an_array_goes_over_model() -> None:
    mesh = mesh_of("data=2,model=4")
    assert cut(("head", "neuron"), (8, 8), mesh) == PartitionSpec("model", None)
    assert cut(("head", "neuron"), (6, 8), mesh) == PartitionSpec(None, "model")
    assert cut(("expert", "d_ff", "d_model"), (8, 8, 3), mesh) == PartitionSpec(None, "model", None)
    assert cut(("batch", "position"), (3, 4), mesh) == PartitionSpec(None, None)
