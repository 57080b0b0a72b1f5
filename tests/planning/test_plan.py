"""Topologies and meshes: what is refused, in one sentence; and the mesh that is chosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landed_jax.errors import LandedError
from landed_jax.planning import chips, plan, topology_of
from landed_jax.planning._task import WHATS
from tests.models import SMALL
from tests.planning.shapes import KNOWN, known


@pytest.mark.parametrize(
    ("text", "chip", "count"),
    [("v5e:4x4", "v5e", 16), ("V5P:2x2x4", "v5p", 16), (" h100:8 ", "h100", 8), ("a100-80gb:16", "a100-80gb", 16)],
)
def test_a_topology_names_a_chip_and_how_many(text: str, chip: str, count: int) -> None:
    found = topology_of(text)
    assert (found.chip.name, found.count) == (chip, count)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no chip"),
        ("v7:4x4", "names no chip"),
        ("v5e", "a grid of 2 axes"),
        ("v5e:16", "a grid of 2 axes"),
        ("v5e:4x", "a grid of 2 axes"),
        ("v5e:0x4", "a grid of 2 axes"),
        ("v5e:-4x4", "a grid of 2 axes"),
        ("v5p:2x2", "a grid of 3 axes"),
        ("h100:2x4", "a number of them"),
        ("h100:٨", "a number of them"),
        ("v5e:32x32", "at most 256"),
        ("v5e:99999999x1", "a grid of 2 axes"),
    ],
)
def test_another_topology_is_refused(text: str, words: str) -> None:
    with pytest.raises(LandedError, match=words):
        topology_of(text)


def test_a_mesh_has_all_chips_and_spreads_the_batch() -> None:
    with pytest.raises(LandedError, match="has 4 chips, and h100:8 has 8"):
        plan(SMALL, "h100:8", length=4, mesh={"data": 2, "model": 2})
    with pytest.raises(LandedError, match="batch of 3 cannot be spread"):
        plan(SMALL, "h100:2", length=4, batch=3, mesh={"data": 2, "model": 1})
    with pytest.raises(LandedError, match="No mesh of 7 chips"):
        plan(SMALL, "h100:7", length=4)


@pytest.mark.parametrize("wrong", [{"length": 0}, {"batch": 0}, {"prompts": 0}, {"fraction": 0}, {"fraction": 1.5}])
def test_a_size_that_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(LandedError, match=next(iter(wrong))):
        plan(SMALL, "h100:1", **{"length": 4, **wrong})


@given(
    name=st.sampled_from(list(KNOWN)),
    topology=st.sampled_from(["v5e:2x4", "v5e:16x16", "v4:2x2x2", "v5p:4x4x4", "v6e:4x4", "h100:8", "h200:16"]),
    batch=st.sampled_from([1, 8, 256]),
    what=st.sampled_from(list(WHATS)),
)
def test_the_chosen_mesh_fits_where_one_does_and_is_the_fastest(name: str, topology: str, batch: int, what) -> None:
    config = known(name)
    try:
        found = plan(config, topology, length=1024, batch=batch, what=what)
    except LandedError as error:
        assert "No mesh" in str(error)
        return
    layouts = [found.layout, *found.others]
    for layout in layouts:
        assert layout.data * layout.model == found.topology.count
        assert batch % layout.data == 0 and config.n_heads % layout.model == 0
        assert layout.seconds.bound <= layout.seconds.expected
    fitting = [layout for layout in layouts if layout.fits]
    if fitting:
        assert found.layout.fits
        assert found.layout.seconds.expected == min(layout.seconds.expected for layout in fitting)
    else:
        assert found.layout.memory.total == min(layout.memory.total for layout in layouts)


def test_beyond_one_machine_gpus_send_over_its_network() -> None:
    config, mesh = known("meta-llama/Llama-3.1-70B"), {"data": 1, "model": 16}
    inside = plan(config, "h100:8", length=1024, mesh={"data": 1, "model": 8}).layout
    across = plan(config, "h100:16", length=1024, mesh=mesh).layout
    h100 = chips()["h100"]
    assert inside.seconds.interconnect == inside.work.sent / h100.link
    assert across.seconds.interconnect == across.work.sent / h100.network
    beside = plan(config, "h100:16", length=1024, batch=2, mesh={"data": 2, "model": 8}).layout
    assert beside.seconds.interconnect == inside.seconds.interconnect


def test_a_million_prompts_take_their_batches() -> None:
    found = plan(SMALL, "h100:1", length=4, batch=3, prompts=1_000_000)
    assert found.batches == 333_334
