"""Bytes of one chip: the parameters exactly, results as the program makes them, and never more on more chips."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh

from landed_jax import ModelConfig, Tokens
from landed_jax.analysis.streaming._attribute_streaming import number_of_passes
from landed_jax.memory import estimates
from landed_jax.memory.estimates import attribution_bytes, weight_bytes
from landed_jax.mesh import mesh_of
from landed_jax.nn.parameters import leaf_places, stack_layers
from landed_jax.nn.sharding import abstract_on_mesh, leaf_sharding
from landed_jax.planning import plan
from landed_jax.planning._memory import parameter_bytes
from landed_jax.planning._task import WHATS
from tests.models import BIASED, LAYER_NORM, SMALL, random_params

EXPERTS = dataclasses.replace(SMALL, n_experts=6, experts_per_token=2)


@pytest.mark.parametrize("config", [SMALL, BIASED, LAYER_NORM, EXPERTS], ids=["small", "biased", "layer", "experts"])
@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.quick), 2, 3, 4, 6, 8])
def test_parameters_are_the_shards_of_the_loader(config: ModelConfig, shards: int) -> None:
    mesh = Mesh(np.array(jax.devices()[:shards]), ("model",))
    shapes = [leaf_sharding(leaf, config, mesh).shard_shape(leaf.shape(config)) for _, leaf in leaf_places(config)]
    assert parameter_bytes(config, jnp.bfloat16, shards) == sum(2 * int(np.prod(shape)) for shape in shapes)


# All divide by 8: key heads that do not are whole on every chip, and take more there.
sizes = st.builds(
    lambda heads, group, d_ff, layers, vocab, experts: ModelConfig(
        vocab_size=2**vocab,
        d_model=256,
        n_layers=layers,
        n_heads=2**heads,
        n_kv_heads=2 ** max(heads - group, 3),
        head_dim=32,
        d_ff=2**d_ff,
        n_experts=experts,
        experts_per_token=min(experts, 2),
    ),
    st.integers(3, 6),
    st.integers(0, 4),
    st.integers(7, 12),
    st.integers(1, 40),
    st.integers(9, 17),
    st.sampled_from([0, 8]),
)


@settings(max_examples=40)
@given(
    config=sizes, what=st.sampled_from(list(WHATS)), length=st.integers(1, 3000), chip=st.sampled_from(["v5e", "h100"])
)
def test_more_chips_never_take_more_memory_each(config: ModelConfig, what: Any, length: int, chip: str) -> None:
    before: dict[str, tuple[Any, int]] = {}
    for chips in (1, 2, 4, 8):
        topology = f"v5e:1x{chips}" if chip == "v5e" else f"{chip}:{chips}"
        for axis in ("data", "model"):
            mesh = {"data": 1, "model": 1} | {axis: chips}
            found = plan(config, topology, length=length, batch=8, what=what, mesh=mesh).layout
            # One pass is taken where there is room, and takes more than two.
            if axis in before and before[axis][0] == found.passes:
                assert found.memory.total <= before[axis][1]
            before[axis] = (found.passes, found.memory.total)


@given(config=sizes, what=st.sampled_from(list(WHATS)), factor=st.integers(2, 5))
def test_more_prompts_take_more_time_and_no_less_memory(config: ModelConfig, what: Any, factor: int) -> None:
    one, more = (
        plan(config, "h200:2", length=64, batch=batch, what=what, mesh={"data": 1, "model": 2}).layout
        for batch in (2, 2 * factor)
    )
    assert more.memory.parameters == one.memory.parameters and more.memory.result >= one.memory.result
    assert more.seconds.compute > one.seconds.compute and more.seconds.memory > one.seconds.memory
    assert more.seconds.expected <= factor * one.seconds.expected * 1.0001  # what is read once is shared


def test_the_package_takes_the_passes_that_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a mesh each device keeps its part of the factors: with memory between that and the whole, one pass."""
    config, ids = dataclasses.replace(SMALL, n_kv_heads=4, d_ff=12), np.ones((4, 64), np.int32)
    params = stack_layers(random_params(config))
    whole = attribution_bytes(config, batch=4, length=64)[1]
    monkeypatch.setattr(estimates, "device_memory", lambda: 4 * whole // 2 + weight_bytes(params))
    how: Any = {"at": None, "effects": False, "dtype": None}
    assert number_of_passes(params, Tokens(ids, ids > 0), config, None, **how) == 2
    shapes = abstract_on_mesh(config, mesh_of("data=2,model=4"), jnp.float32)
    cut = jax.tree.map(lambda leaf, shape: jax.device_put(leaf, shape.sharding), params, shapes)
    assert number_of_passes(cut, Tokens(ids, ids > 0), config, None, **how) == 1
