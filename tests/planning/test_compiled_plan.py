"""Plans against the TPU compiler: memory within 15 % of what it says, and its words where nothing fits."""

import os
from typing import Any

import pytest

from landed_jax.errors import LandedError
from landed_jax.planning import Compiled, Verdict, compile_plan, plan, topology_of
from landed_jax.planning._collectives import Collective
from landed_jax.planning._libtpu import use_libtpu
from landed_jax.report.plan import plan_blocks, plan_document
from landed_jax.tables.draw import text_of
from landed_jax.tables.screen import Screen
from tests.needs import needs_libtpu
from tests.planning.shapes import known

SMALL, LARGE = "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.1-8B"


@pytest.fixture
def libtpu(monkeypatch: pytest.MonkeyPatch) -> None:
    use_libtpu(topology_of("v5e:2x4"), environment := dict(os.environ))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.tpu
@needs_libtpu
@pytest.mark.parametrize(
    ("name", "what", "batch", "length", "mesh"),
    [
        (SMALL, "forward", 1, 512, {"data": 1, "model": 8}),
        (SMALL, "forward", 8, 2048, {"data": 2, "model": 4}),
        (LARGE, "forward", 1, 2048, {"data": 1, "model": 8}),
        (SMALL, "top", 1, 512, {"data": 1, "model": 8}),
        (LARGE, "top", 1, 512, {"data": 1, "model": 8}),
        (SMALL, "all", 8, 2048, {"data": 2, "model": 4}),
    ],
)
def test_memory_is_the_compilers(
    libtpu: None, name: str, what: Any, batch: int, length: int, mesh: dict[str, int]
) -> None:
    found = plan(known(name), "v5e:2x4", length=length, batch=batch, what=what, mesh=mesh)
    compiled = compile_plan(found).compiled
    assert compiled is not None
    assert 0.85 <= found.layout.memory.total / compiled.bytes <= 1.15
    # XLA pads arrays to whole tiles, and the ids are no parameters.
    assert found.layout.memory.parameters <= compiled.arguments <= 1.01 * found.layout.memory.parameters + 2**20


@pytest.mark.tpu
@needs_libtpu
def test_what_does_not_fit_is_said_by_both(libtpu: None) -> None:
    found = plan(known(LARGE), "v5e:2x2", length=8192, batch=4, mesh={"data": 4, "model": 1}, what="forward")
    verdict = compile_plan(found)
    assert not found.layout.fits and verdict.compiled is None
    assert "hbm" in verdict.says.lower()
    shown = text_of(plan_blocks(plan_document(found, "a model", verdict)), Screen(80))
    assert "does not fit" in " ".join(shown.split())
    with pytest.raises(LandedError, match=r"v5e:1x1 is no slice that libtpu compiles for"):
        compile_plan(plan(known(SMALL), "v5e:1x1", length=512, what="forward"))


@pytest.mark.parametrize("topology", ["h100:8", "v4:2x2x1"])
def test_chips_that_it_does_not_compile_for_are_refused(topology: str) -> None:
    with pytest.raises(LandedError, match="--compile is for v5e"):
        use_libtpu(topology_of(topology), {})


def test_the_compilers_numbers_stand_beside_the_plans() -> None:
    found = plan(known(SMALL), "v5e:2x4", length=512, mesh={"data": 1, "model": 8})
    summed = Collective("all-reduce", 4096, in_loop=True, in_branch=False, source="")
    compiled = Compiled(3 * 2**30, 5 * 2**20, 7 * 2**10, 1.0, (summed, summed), 1.0)
    document = plan_document(found, "a model", Verdict(compiled))
    assert document["compiled"]["total"] == 3 * 2**30 + 5 * 2**20 + 7 * 2**10
    shown = text_of(plan_blocks(document), Screen(80))
    rows = {line.split()[0]: line.split()[1:] for line in shown.partition("as compiled")[2].splitlines() if line}
    assert rows["arguments"][:2] == ["3.0", "GiB"] and rows["temporaries"][:2] == ["5.0", "MiB"]
    assert rows["results"][:2] == ["7.0", "KiB"]
    assert "2 all-reduce (2 in loops)" in shown
    refused = text_of(plan_blocks(plan_document(found, "a model", Verdict(None, "no room in hbm"))), Screen(80))
    assert "does not fit: 'no room in hbm'" in " ".join(refused.split())
