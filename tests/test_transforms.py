"""What is no analysis inside ``grad``, and the closure error under ``jit``, ``vmap`` and ``shard_map``."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import landed_jax as landed
from landed_jax import NORMED, SOURCES, WRITES, Trace, Write
from landed_jax.generation import decode_step, prefill
from landed_jax.nn.parameters import stack_layers
from tests.models import SMALL, n_sites, random_params

PROMPTS = np.array([[1, 5, 2], [3, 3, 8], [0, 12, 7], [9, 1, 1]])
HEAD, NEURON = Write("head", 1, 3), Write("neuron", 0, 4, position=1)

FUNCTIONS: dict[str, Callable[[Trace], jax.Array]] = {
    "forward": lambda trace: trace[landed.HookPoint.FINAL_NORMED],
    "attribute": lambda trace: landed.attribute(trace, 4, against=2, effects=False).landed.neurons.sum(0),
    "direct_effect": lambda trace: landed.attribute(trace, landed.Logit(4, centred=True)).direct_effect.heads.sum(0),
    "weight_norms": lambda trace: landed.attribute(
        trace,
        4,
        norms=landed.writes.weight_norms(trace.weights(), trace.config, trace[landed.HookPoint.EMBEDDING].dtype),
    ).direct_effect.neurons.sum(0),
    "sigma_share": lambda trace: landed.attribute(trace, 4).sigma_share.neurons.sum(0),
    "attribute_by_source": lambda trace: landed.attribute_by_source(trace, 4).landed.sum(0),
    "land": lambda trace: landed.land(trace, [HEAD, NEURON], site="next")[None],
    "write_vector": lambda trace: landed.writes.write_vector(trace, HEAD)[None],
    "amplification": lambda trace: jnp.moveaxis(landed.amplification(trace).median, 0, -1),
    "coordinates": lambda trace: landed.coordinates(trace, 4).contributions,
    "decode_step": lambda trace: stepped(trace),
    "select": lambda trace: trace.select(1)[landed.HookPoint.FINAL_NORMED],
}


def stepped(trace: Trace) -> jax.Array:
    """Logits behind one more token, by way of a cache."""
    params, dtype = trace.weights(), trace[landed.HookPoint.FINAL_NORMED].dtype
    _, cache = prefill(params, trace.tokens, trace.config, capacity=5, dtype=dtype)
    return decode_step(params, cache, jnp.array([4]), trace.config)[0]


def traced(params: dict, ids: jax.Array) -> Trace:
    _, trace = landed.forward(params, ids, SMALL, record=WRITES | SOURCES | NORMED | landed.RESIDUALS)
    return trace.bind(params)


def slopes(params: dict, ids: jax.Array, weights: dict[str, jax.Array], step: dict) -> dict[str, jax.Array]:
    """The slope of each function's weighted sum along a step; one program for all, as compiling is the cost."""
    found, backward = jax.vjp(lambda p: {name: made(traced(p, ids)) for name, made in FUNCTIONS.items()}, params)
    each = {
        name: jnp.stack([weights[name] if other == name else jnp.zeros_like(leaf) for other in FUNCTIONS])
        for name, leaf in found.items()
    }
    (gradients,) = jax.vmap(backward)(each)
    along = jax.tree.map(lambda g, s: jnp.sum(g * s[None], axis=range(1, g.ndim)), gradients, step)
    return dict(zip(FUNCTIONS, sum(jax.tree.leaves(along)), strict=True))


def test_grad_matches_finite_differences(x64: None) -> None:
    params, ids = random_params(SMALL, dtype=jnp.float64), jnp.asarray(PROMPTS[:1])
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)
    values = jax.jit(lambda p: {name: made(traced(p, ids)) for name, made in FUNCTIONS.items()})
    weights = {name: jnp.asarray(random.standard_normal(leaf.shape)) for name, leaf in values(params).items()}
    ahead, behind = (values(jax.tree.map(lambda v, s, h=h: v + h * s, params, step)) for h in (1e-6, -1e-6))
    for name, slope in jax.jit(slopes)(params, ids, weights, step).items():
        assert abs(slope) > 1e-6, name
        expected = float(jnp.sum(weights[name] * (ahead[name] - behind[name])) / 2e-6)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("hold", [lambda params: params, stack_layers], ids=["subtrees", "stacked"])
def test_closure_error_under_jit_vmap_and_shard_map(hold: Callable[[dict], dict]) -> None:
    params, ids = hold(random_params(SMALL)), jnp.asarray(PROMPTS)

    def error(params: dict, ids: jax.Array) -> jax.Array:
        _, trace = landed.forward(params, ids, SMALL, record=WRITES | NORMED)
        return landed.closure_error(trace.bind(params)).error

    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    cut = PartitionSpec(None, "data")
    sharded = jax.shard_map(error, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=cut)
    for found in (jax.jit(error)(params, ids), jax.jit(sharded)(params, ids)):
        assert found.shape == (n_sites(SMALL), 4, 3)
        assert 0 < float(found.max()) < 1e-6
    each = jax.jit(jax.vmap(lambda row: error(params, row[None])))(ids)
    assert each.shape == (4, n_sites(SMALL), 1, 3)
    assert float(each.max()) < 1e-6
