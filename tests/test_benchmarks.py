"""The benchmarks compare like with like, and their page says what was found. No timing is judged here."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import command, induction_forms, ours, results, scaling, scaling_page
from benchmarks.arithmetic import flops, forward_flops
from benchmarks.contestants import CONTESTANTS, Builder, Contestant, Prepared, Unavailable
from benchmarks.markdown import DOCS
from benchmarks.page import render
from benchmarks.results import Measured, Run, Section, as_json, write_whole
from benchmarks.shapes import SIZES, prompt, shape
from benchmarks.timing import rounds
from benchmarks.weights import Weights
from landed_jax import ModelConfig
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.memory.shortage import human_bytes
from landed_jax.nn.parameters import count_parameters
from landed_jax.report.numbers import duration
from tests.needs import needs_torch

TINY = ModelConfig(vocab_size=61, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=44)
LENGTH = 6


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights(TINY)


def near(found: object, expected: object) -> None:
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@needs_torch
@pytest.mark.parametrize("which", ["last", "all"])
def test_the_hooks_make_the_same_contributions_as_we_do(weights: Weights, which: str) -> None:
    mine, theirs = (CONTESTANTS[f"{side}-{which}"].build(weights, LENGTH).run() for side in ("ours", "hooks"))
    near(theirs["value"], mine["value"][0])
    near(theirs["embedding"], mine["landed"].embedding[0])
    near(np.stack(theirs["heads"]), mine["landed"].heads[:, 0])
    near(np.stack(theirs["neurons"]), mine["landed"].neurons[:, 0])
    for closure in (mine["closure_error"], theirs["closure_error"]):
        assert float(closure.max()) < 1e-5


@needs_torch
def test_both_sides_run_the_same_model(weights: Weights) -> None:
    mine, theirs = (CONTESTANTS[f"{side}-forward"].build(weights, LENGTH).run() for side in ("ours", "torch"))
    near(theirs, mine["logits"])
    leaf = weights.params["layers"]["1"]["mlp"]["W_down"]
    assert leaf.unsafe_buffer_pointer() == weights.tensors["model.layers.1.mlp.down_proj.weight"].ctypes.data


@needs_torch
@pytest.mark.parametrize("length", [LENGTH, 130], ids=["few rows", "many"])
@pytest.mark.parametrize("which", ["products", "projections"])
def test_the_products_alone_are_the_same_on_both_sides(weights: Weights, which: str, length: int) -> None:
    mine, theirs = (CONTESTANTS[f"{side}-{which}"].build(weights, length).run() for side in ("ours", "torch"))
    assert mine.keys() == theirs.keys()
    for name, found in theirs.items():
        near(np.stack(found) if isinstance(found, list) else found, np.stack(mine[name]))


def test_rounds_leave_a_row_for_everyone_and_the_page_shows_it(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(weights: Weights, length: int) -> Prepared:
        raise Unavailable("not installed")

    def builder(value: float) -> Builder:
        return lambda weights, length: Prepared(lambda: {"closure_error": np.zeros(1), "value": np.full(1, value)})

    monkeypatch.setitem(CONTESTANTS, "lens-all", Contestant("absent", absent))
    for name in ("ours-forward", "ours-all", "hooks-all"):
        monkeypatch.setitem(CONTESTANTS, name, Contestant(name, builder(2.0)))
    rows = rounds(weights, "5M", LENGTH, ["ours-forward", "ours-all", "hooks-all", "lens-all"], 3)
    assert [len(row.seconds) for row in rows] == [3, 3, 3, 0]
    assert rows[0].largest_value == 2
    section = Section([])
    section.begin(Run("python -m benchmarks", {"device": "gpu (NVIDIA H200)", "torch device": "cuda"}))
    section.take(rows, [*SIZES])
    page = render({"timing": section, "memory": Section([Run("python -m benchmarks --memory", {})], [rows[3]])})
    assert "| lens-all | 5M | 6 | not installed |" in page
    assert "ours-all / ours-forward ≤ 1.35" in page
    assert "### Of the roofline" in page and "ours-all / hooks-all ≤ 1.00" in page
    section.runs[0].machine["torch device"] = "cpu"
    page = render({"timing": section})
    assert "ours-all / ours-forward ≤ 1.35" in page and "hooks-all ≤" not in page
    assert "nothing of the one is compared" in page


def test_bars_ratios_and_files(tmp_path: Path) -> None:
    rows = [
        Measured("ours-forward", "5M", 8, [1.0, 2.0, 4.0]),
        Measured("ours-last", "5M", 8, [1.0, 2.4, 4.8]),
        Measured("ours-all", "5M", 8, [1.2, 2.4], closure_error=1e-6, largest_value=4.0),
    ]
    section = Section([Run("python -m benchmarks", {"cores": "2"}, [("5M", 8)])], rows)
    assert section.ratio("ours-last", "ours-forward", "5M", 8) == pytest.approx(1.2)
    page = render({"timing": section})
    assert "| ours-last / ours-forward ≤ 1.10 | 5M | 8 | 1.20 | **no** |" in page
    assert "| ours-all / ours-forward ≤ 1.35 | 5M | 8 | 1.20 | yes |" in page
    assert "| ours-all | 2.5e-07 |" in page
    assert "| ours-all | 1,800 (1,200–2,400; 2) |" in page
    write_whole([(tmp_path / "RESULTS.json", as_json({"timing": section}))])
    assert results.read(tmp_path / "RESULTS.json") == {"timing": section}
    assert [path.name for path in tmp_path.iterdir()] == ["RESULTS.json"]


def test_the_repositorys_page_is_replaced_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measured: list[str] = []
    monkeypatch.setattr(
        command, "_rows", lambda name, *_: measured.append(name) or [[Measured("ours", "5M", 8, [1.0])]]
    )
    monkeypatch.setattr(command, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(command, "RECORDED", tmp_path / "benchmarks" / "RESULTS.md")
    (tmp_path / "benchmarks").mkdir()
    assert command.run([]) == 0
    assert sorted(os.listdir()) == ["benchmark_results.json", "benchmark_results.md", "benchmarks"]
    assert os.listdir("benchmarks") == []
    for told in (
        ["--out", "benchmarks/RESULTS.md"],
        ["--out", "benchmarks/a.md"],
        ["--json", "benchmarks/RESULTS.json"],
    ):
        with pytest.raises(SystemExit) as caught:
            command.run(told)
        assert caught.value.code == 2
    assert os.listdir("benchmarks") == [] and measured == ["timing"]
    assert command.run(["--record"]) == 0
    assert sorted(os.listdir("benchmarks")) == ["RESULTS.json", "RESULTS.md"]


def test_a_later_run_replaces_its_own_rows_and_says_so() -> None:
    section = Section([])
    section.begin(Run("first", {}))
    for size, length in (("125M", 8), ("5M", 8), ("5M", 16)):
        section.take([Measured("ours-forward", size, length, [1.0])], [*SIZES])
    section.begin(Run("second", {}))
    section.take([Measured("ours-forward", "5M", 8, [2.0]), Measured("ours-all", "5M", 8, [2.0, 4.0])], [*SIZES])
    assert section.settings() == [("5M", 8), ("5M", 16), ("125M", 8)]
    assert section.run_of("5M", 8) is section.runs[1] and section.run_of("5M", 16) is section.runs[0]
    page = render({"timing": section})
    assert "125M at 8; 5M at 16: `first`" in page and "5M at 8: `second`" in page
    assert "| ours-all | 1.00 | not run | not run |" in page
    section.begin(Run("third", {}))
    section.take([Measured("ours-forward", "5M", 8, [2.0])], [*SIZES])
    assert [run.command for run in section.runs] == ["first", "third"]


def test_memory_bars() -> None:
    peaks = {"ours-forward": 100, "ours-top-2": 111, "ours-all": 60, "hooks-all": 61}
    rows = [Measured(name, "1.1B", 512, peak_bytes=peak) for name, peak in peaks.items()]
    page = render({"memory": Section([Run("python -m benchmarks --memory", {}, [("1.1B", 512)])], rows)})
    assert "| ours-top-2 / ours-forward ≤ 1.10 | 1.1B | 512 | 1.11 | **no** |" in page
    assert "| ours-all / hooks-all ≤ 1.00 | 1.1B | 512 | 0.98 | yes |" in page


def test_the_shapes_have_the_sizes_that_their_names_say() -> None:
    counts = [count_parameters(config) / 1e6 for config in SIZES.values()]
    assert counts == pytest.approx([5, 125, 1100], rel=0.1)
    assert shape("125M/4").n_layers == 4
    assert prompt(TINY, 7).shape == (1, 7)


def test_every_own_program_has_its_operations_counted() -> None:
    # XLA's own count of the compiled forward pass; ours leaves out what is no product.
    weights = Weights(TINY)
    program = ours.compiled(ours.forward, weights.params, jax.device_put(prompt(TINY, 16)), TINY)
    analysis = program.cost_analysis()
    assert isinstance(analysis, dict)
    assert forward_flops(TINY, 16) == pytest.approx(analysis["flops"], rel=0.25)
    assert all(flops(name, TINY, 16) for name in scaling.NAMES)


@pytest.mark.slow
def test_how_induction_forms_is_measured_over_steps(tmp_path: Path) -> None:
    for step in ("000002", "000001"):
        (tmp_path / step).symlink_to(bundled_folder())
    found = induction_forms.measure(tmp_path, prompts=24, sequences=8, seed=0, out=None)
    assert found.steps == [1, 2] and set(found.heads) < set(found.circuit)
    full, restricted, excluded = (found.losses[name].mean for name in induction_forms.LOSSES)
    assert (np.maximum(full, restricted) < 1).all() and (excluded > 4).all()
    assert (found.landed.mean > 0).all() and (found.landed.mean < found.value.mean).all()
    for curve in (*found.losses.values(), *found.scores.values(), found.landed, found.sigma_share):
        assert (curve.low <= curve.mean).all() and (curve.mean <= curve.high).all()
    assert found.sigma.shape == found.amplification.shape == (2, len(found.sites)) == (2, 9)
    assert induction_forms.as_text(found).startswith("Circuit: 1.2, ") and "\n| 2 | " in induction_forms.as_text(found)


def test_the_scaling_page_is_what_is_planned() -> None:
    """Tables are made anew, so that a change of the arithmetic does not leave the page behind."""
    page = (DOCS / "scaling.md").read_text("utf-8")
    for size, name, batch, what in (("8B", "v5e:4x4", 8, "effects"), ("405B", "v5p:2x4x4", 8, "top")):
        found = scaling_page.planned(size, name, batch, what=what)
        assert found is not None
        row = next(line for line in page.splitlines() if line.startswith(f"| {size}, `{name}` | `{what}` |"))
        memory, seconds = found.layout.memory, found.layout.seconds
        shown = (human_bytes(memory.total), human_bytes(memory.parameters), duration(seconds.expected))
        assert all(text in row for text in shown)
