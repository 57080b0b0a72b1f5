"""Operations counted from shapes are those of the program, as XLA counts them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from landed_jax import ModelConfig, forward
from landed_jax.analysis.attribution import _effects
from landed_jax.analysis.reduce import everything, top_writes
from landed_jax.analysis.streaming import attribute_streaming
from landed_jax.nn.parameters import build_tree, leaf_places
from landed_jax.nn.sharding import leaf_sharding
from landed_jax.planning._task import Task
from landed_jax.planning._work import attended_pairs, work_of

PLAIN = ModelConfig(vocab_size=512, d_model=256, n_layers=2, n_heads=8, n_kv_heads=4, head_dim=32, d_ff=1024)
CASES = {
    "plain": PLAIN,
    "windowed": dataclasses.replace(PLAIN, sliding_window=8, windowed_layers=(True, False)),
    "output norms": dataclasses.replace(PLAIN, output_norms=True, tie_embeddings=True),
    "ungated": dataclasses.replace(PLAIN, gated_mlp=False, activation="relu", norm="layer", parallel_blocks=True),
}
BATCH, LENGTH = 2, 64
ONE_CHIP = {"data": 1, "model": 1}


def lowered(config: ModelConfig, what: str, passes: Any, mesh: dict[str, int] = ONE_CHIP) -> Any:
    """The call on a mesh of emulated devices, one subtree a layer: XLA counts what is in a loop once."""

    def run(params: dict, ids: jax.Array) -> Any:
        if what == "forward":
            return forward(params, ids, config, record=())[0]
        reduction, at = (top_writes(10) if what == "top" else everything()), ([-1] if what == "last" else None)
        return attribute_streaming(params, ids, config, reduction, effects=what != "all", passes=passes, at=at)

    devices = np.array(jax.devices()[: mesh["data"] * mesh["model"]]).reshape(mesh["data"], mesh["model"])
    on = Mesh(devices, ("data", "model"))
    leaves = (
        (path, jax.ShapeDtypeStruct(leaf.shape(config), jnp.float32, sharding=leaf_sharding(leaf, config, on)))
        for path, leaf in leaf_places(config)
    )
    spread = NamedSharding(on, PartitionSpec("data"))
    return jax.jit(run).lower(build_tree(leaves), jax.ShapeDtypeStruct((BATCH, LENGTH), jnp.int32, sharding=spread))


@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.quick), *list(CASES)[1:]])
@pytest.mark.parametrize(("what", "passes"), [("forward", None), ("last", 1), ("all", 1), ("effects", 1), ("top", 2)])
def test_operations_are_those_of_the_program(
    name: str, what: Any, passes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is computed only for a write that leaves almost nothing is not counted here; XLA counts both branches.
    monkeypatch.setattr(_effects, "_from_vectors", lambda writes, least, reader: _effects._Exact.none(least))
    found = lowered(CASES[name], what, passes).cost_analysis()["flops"]
    counted = work_of(CASES[name], Task(what, LENGTH, BATCH), ONE_CHIP, "float32", passes)
    assert 0.9 <= sum(counted.flops.values()) / found <= 1.1


@pytest.mark.xla
@pytest.mark.parametrize("mesh", [{"data": 2, "model": 2}, {"data": 1, "model": 4}], ids=["2x2", "1x4"])
def test_a_chip_does_its_part(mesh: dict[str, int]) -> None:
    found = lowered(PLAIN, "forward", None, mesh).compile().cost_analysis()["flops"]
    counted = work_of(PLAIN, Task("forward", LENGTH, BATCH), mesh, "float32", None)
    assert 0.9 <= sum(counted.flops.values()) / found <= 1.1


@pytest.mark.xla
def test_what_is_sent_is_in_the_program() -> None:
    """Each layer's two sums and the embedding's: their sizes, from the compiled program's text."""
    mesh = {"data": 1, "model": 4}
    program = lowered(PLAIN, "forward", None, mesh).compile().as_text()
    sums = [line for line in program.splitlines() if " all-reduce(" in line]
    one = f"f32[{BATCH},{LENGTH},{PLAIN.d_model}]"
    assert len(sums) == 2 * PLAIN.n_layers + 1 and all(one in line for line in sums)
    sizes = len(sums) * BATCH * LENGTH * PLAIN.d_model * 4
    assert work_of(PLAIN, Task("forward", LENGTH, BATCH), mesh, "float32", None).sent == 2 * sizes * 3 // 4


@pytest.mark.parametrize("length", [1, 63, 64, 200, 1000])
@pytest.mark.parametrize("window", [None, 1, 70, 5000])
def test_pairs_are_all_that_are_seen_and_at_most_whole_spans(length: int, window: int | None) -> None:
    query, key = np.mgrid[:length, :length]
    seen = (key <= query) & (query - key < (window or length))
    spans = 2 * max(64, -(-length // 8))
    assert seen.sum() <= attended_pairs(length, window) <= seen.sum() + length * spans


def test_only_chosen_experts_are_computed_and_read() -> None:
    """Two of eight experts are a dense MLP of twice their width, but for the router; a short prompt reads few."""
    experts = dataclasses.replace(PLAIN, d_ff=256, n_experts=8, experts_per_token=2)
    dense, task = dataclasses.replace(PLAIN, d_ff=512), Task("forward", LENGTH, BATCH)
    ours, theirs = (work_of(config, task, ONE_CHIP, "float32", None) for config in (experts, dense))
    router = 2 * BATCH * LENGTH * experts.d_model * experts.n_experts * experts.n_layers
    assert sum(ours.flops.values()) == sum(theirs.flops.values()) + router
    one = work_of(experts, Task("forward", 1, 1), ONE_CHIP, "float32", None)
    unread = 6 * 3 * experts.d_model * experts.d_ff * experts.n_layers * 4
    assert ours.moved["weights"] - one.moved["weights"] == unread


def test_two_passes_compute_the_layers_twice_and_the_logits_once() -> None:
    one, two = (work_of(PLAIN, Task("all", LENGTH, BATCH), ONE_CHIP, "float32", passes) for passes in (1, 2))
    again = {name: two.flops[name] / one.flops[name] for name in one.flops}
    assert again == {"attention and MLP": 2, "scores": 2, "logits": 1, "attribution": 1}
