"""A whole comparison with methods whose scores are known; interrupted and taken up again."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.circuits import Graph, circuit_values
from landed_jax.comparison import Settings, TaskComparison, compare, neuron_effects, sampled
from landed_jax.comparison._scoring import Forward, score_batches
from landed_jax.comparison._values import Circuits
from landed_jax.comparison._work import TRUTH
from landed_jax.errors import LandedError
from landed_jax.interventions._saved import Saved
from landed_jax.report.comparison import comparison_document
from landed_jax.tasks import Pairs, answered, pairs_of
from landed_jax.testbed.prompts import tasks
from tests.comparison.methods import scripted
from tests.comparison.pairs import random_pairs
from tests.models import SMALL

FEW = Settings(prompts=6, circuit_prompts=4, neurons=8, draws=50, levels=("heads", "neurons", "nodes"))


def found_with(methods: list[Any], settings: Settings = FEW, **how: Any) -> TaskComparison:
    return compare(landed.load(), tasks()["facts"], methods, settings, **how)


def numbers(found: TaskComparison) -> Any:
    """All but the times."""
    document = comparison_document("", found.settings, [found])
    for method in document["tasks"][0]["methods"]:
        del method["cost"]
    return document


@pytest.mark.quick
def test_the_truth_is_found_to_be_true() -> None:
    said: list[str] = []
    found = found_with(scripted(), say=said.append)
    heads, neurons, nodes = found.levels
    assert (heads.components, neurons.components, nodes.components) == (32, 4 * 384, 36)
    assert (heads.measured, neurons.measured, nodes.measured) == (32, 8, 0)
    rows = {row.method: row for row in heads.rows}
    assert list(rows) == ["truth", "reversed", "chance", TRUTH]
    np.testing.assert_allclose(rows["truth"].correlation.pearson, 1, rtol=1e-9)
    np.testing.assert_allclose(rows["reversed"].correlation.spearman, -1, rtol=1e-9)
    assert len(rows["truth"].correlation.pearson) == 6 and rows["truth"].by_score.kept.shape == (10, 4)
    assert rows["truth"].by_score.cpr > rows["reversed"].by_score.cpr
    assert rows["truth"].without.cpr < rows["reversed"].without.cpr
    np.testing.assert_array_equal(rows["truth"].by_score.kept, rows[TRUTH].by_score.kept)
    np.testing.assert_array_equal(rows["truth"].by_size.kept, rows["reversed"].by_size.kept)
    for level in found.levels:
        for row in level.rows:
            assert row.by_score.faithfulness[-1] == 1 and row.by_size.faithfulness[-1] == 1
            assert row.without.faithfulness[-1] == 0
            np.testing.assert_array_equal(row.by_score.faithfulness[row.by_score.count == 0], 0)
            assert len(row.fine.count) > len(set(row.by_score.count.tolist()))
    facts = found.methods[0]
    assert facts.conservation == 0.25 and facts.evidence is not None and facts.evidence.absolute.tolist() == [1] * 6
    assert any("circuits of heads" in step and "forward passes, about" in step for step in said)


def test_an_interrupted_comparison_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    settings = dataclasses.replace(FEW, levels=("heads", "neurons"), ablations=("resample", "mean"))
    whole, out = numbers(found_with(scripted(), settings)), tmp_path / "study"

    def interrupt(step: str) -> None:
        if "neurons ablated" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found_with(scripted(), settings, out=out, say=interrupt)
    methods = scripted()
    assert numbers(found_with(methods, settings, out=out)) == whole
    assert [method.calls for method in methods] == [0, 0, 0]
    assert (out / "facts" / "resample" / "0").is_dir()  # where `sweep` keeps every head's effects
    before = sorted(path.name for path in out.rglob("*"))
    assert numbers(found_with(scripted(), settings, out=out)) == whole
    assert sorted(path.name for path in out.rglob("*")) == before
    with pytest.raises(LandedError, match="another sweep"):
        found_with(scripted(), dataclasses.replace(settings, seed=1), out=out)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"levels": ("layers",)}, "no level 'layers'"),
        ({"ablations": ("noise",)}, "no ablation 'noise'"),
        ({"prompts": 1}, "at least two prompts"),
        ({"fractions": (0.5, 0.1)}, "rise from 0 to 1"),
        ({"fractions": ()}, "at least two fractions"),
        ({"fractions": (0.5,)}, "at least two fractions"),
        ({"levels": ()}, "at least one level and one ablation"),
        ({"ablations": ()}, "at least one level and one ablation"),
        ({"neurons": 0}, "at least two neurons to ablate, not 0"),
        ({"seed": -5}, "from 0 to 2\\*\\*32 - 1, not -5"),
    ],
)
def test_bad_settings_are_a_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(LandedError, match=says):
        found_with(scripted(), dataclasses.replace(FEW, **settings))


def test_methods_that_score_nothing_of_a_level_are_refused() -> None:
    class OnlyHeads:
        name, neurons = "heads alone", False
        reference = differs = ""

        def score(self, *given: Any, dtype: Any = None) -> Any:
            return dataclasses.replace(scripted()[2].score(*given), neurons=None)

    found = found_with([OnlyHeads()], dataclasses.replace(FEW, levels=("heads",)))
    assert [row.method for row in found.levels[0].rows] == ["heads alone", TRUTH]
    said: list[str] = []
    for level in ("neurons", "nodes"):
        with pytest.raises(LandedError, match=f"None of these methods scores {level}"):
            found_with([OnlyHeads()], dataclasses.replace(FEW, levels=("heads", level)), say=said.append)
    assert not said  # before anything is computed
    mistaken = OnlyHeads()
    mistaken.neurons = True
    with pytest.raises(LandedError, match="None of these methods scores neurons"):
        found_with([mistaken])


def test_the_sampled_neurons_are_those_that_are_scored() -> None:
    """By one prompt after the other: the first neuron's score is compared with the first neuron's effect."""
    model, chance = landed.load(), scripted()[2]
    kept = answered(model, tasks()["facts"], 6)
    [every], [few] = pairs_of(kept), pairs_of(kept.first(4))
    [level] = found_with([scripted()[2]], dataclasses.replace(FEW, levels=("neurons",))).levels
    scores = np.asarray(chance.score(model, every).neurons)
    chosen = sampled([scores.mean(axis=1)], 8)
    effects = neuron_effects(model, few, chosen)
    where = {ids: row for row, ids in enumerate(map(tuple, np.asarray(every.clean.ids).tolist()))}
    for row, ids in enumerate(np.asarray(few.clean.ids).tolist()):
        own = scores[chosen[:, 0], where[tuple(ids)], chosen[:, 1]]
        expected = np.corrcoef(own, effects[:, row])[0, 1]
        np.testing.assert_allclose(level.rows[0].correlation.pearson[row], expected, rtol=1e-3, atol=1e-4)


def test_a_folder_of_float32_is_not_used_for_float64(tmp_path: Path, x64: None) -> None:
    settings = dataclasses.replace(FEW, levels=("heads",))
    whole = numbers(found_with(scripted(), settings, out=tmp_path, dtype="float32"))
    with pytest.raises(LandedError, match="another sweep"):
        found_with(scripted(), settings, out=tmp_path, dtype="float64")
    again = scripted()
    assert numbers(found_with(again, settings, out=tmp_path, dtype="float32")) == whole
    assert [method.calls for method in again] == [0, 0, 0]


def test_a_key_of_float32_is_as_it_was_without_a_type(tmp_path: Path) -> None:
    model, method = landed.load(), scripted()[2]
    batches = pairs_of(answered(model, tasks()["facts"], 2))
    score_batches(method, model, batches, Forward(model), "weights", tmp_path)
    before = Saved.of(tmp_path / "chance" / "0", "scores", landed.__version__, "weights", "chance", batches[0])
    assert before.get((0,)) is not None


def test_a_mean_of_edges_is_the_tasks_whatever_the_batches(x64: None) -> None:
    """Circuits of one prompt at a time, and of a part of the task: the mean is of all the corrupted prompts."""
    model, pairs = random_pairs(SMALL, np.float64)
    alone = [jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], pairs) for row in range(2)]
    edges = len(Graph.of(model.config))
    masks = np.random.default_rng(0).random((3, 1, edges)) < 0.5

    def values(batches: list[Pairs], data: list[Pairs]) -> np.ndarray:
        return Circuits(model, batches, data, None, "mean", {}, "").values(masks)

    expected = circuit_values(model, pairs, masks[:, 0], "mean", data=pairs.corrupted)
    np.testing.assert_allclose(values([pairs], [pairs]), expected, rtol=1e-9)
    np.testing.assert_allclose(values(alone, alone), expected, rtol=1e-9)
    np.testing.assert_allclose(values(alone[:1], alone), expected[:, :1], rtol=1e-9)
