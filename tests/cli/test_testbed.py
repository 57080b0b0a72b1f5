import dataclasses
import functools
import json
from pathlib import Path

import pytest

from landed_jax.cli.commands import status_of
from landed_jax.testbed.language import TASKS, conditions
from landed_jax.testbed.training import Recipe
from tests.checkpoints import CONFIG, make_tensors, write_checkpoint
from tests.testbed.tiny import TINY
from tests.vocabularies import sentencepiece_like


@pytest.mark.quick
def test_show_prints_matched_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["testbed", "show", "indirect object", "--count", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "indirect object: object named first" and len(lines) == 2 * (1 + 2 * 3)
    clean, corrupted = lines[1].rstrip("]").split(" ["), lines[2].rstrip("]").split(" [")
    answer, foil = clean[1].split(", not ")
    assert corrupted[1] == foil and answer in clean[0] and len(clean[0].split()) == len(corrupted[0].split())
    assert status_of(["testbed", "show"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{task}: {condition}\n" in printed for task, condition in conditions())


def test_a_task_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["testbed", "show", "sums"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("landed: There is no task 'sums'") and "induction" in said.err


def test_score_as_json_and_as_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert status_of(["testbed", "score", "--count", "4", "--json", str(tmp_path / "scores.json")]) == 0
    printed = capsys.readouterr().out
    assert all(task in printed for task in TASKS) and "held out" in printed
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["model"] == "bundled"
    assert [(s["task"], s["condition"]) for s in document["scores"]] == list(conditions())
    assert all(
        1 <= s["prompts"] <= 4 and s["judged"] in (s["above_foil"], s["right_word_first"]) for s in document["scores"]
    )


def test_another_models_words_are_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = sentencepiece_like()
    config = dataclasses.replace(CONFIG, vocab_size=len(tokenizer))
    model = write_checkpoint(tmp_path, make_tensors(config)[1], config)
    tokenizer.save_pretrained(model)
    assert status_of(["testbed", "score", "--model", str(model)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "is not one token but" in said.err and len(said.err.splitlines()) == 1


@pytest.mark.quick
def test_run_needs_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["run", "The Colosseum is in the city of", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == "bundled" and document["target"]["text"] == " Rome"
    assert document["closure_error"] <= 1e-5 * abs(document["logit"])


def test_unknown_words_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["run", "The Qwerty is in the city of", "--top", "1"]) == 0
    assert "read as an unknown word: 'Qwerty'" in capsys.readouterr().err


def test_info_needs_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["info"]) == 0
    assert "1,181,056" in capsys.readouterr().out


def test_steps_to_keep_are_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for steps, said in (
        ("1,two", "step numbers separated by commas"),
        ("0,9", "no step 9 to keep"),
        ("9" * 5000, "names step 999999999999999999999999999..., which has more than 18 digits"),
    ):
        assert status_of(["testbed", "train", str(tmp_path / "mine"), "--steps", "8", "--keep-steps", steps]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_train_writes_a_model_that_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], usual_promotion: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landed_jax.testbed.training.Recipe", functools.partial(Recipe, config=TINY.config))
    model = tmp_path / "mine"
    assert status_of(["testbed", "train", str(model), "--steps", "2", "--seed", "3", "--keep-steps", "powers"]) == 0
    assert sorted(step.name for step in (model / "steps").iterdir()) == ["000000", "000001", "000002"]
    said = capfd.readouterr()
    assert said.out == f"Wrote {model}\n"
    assert "step 2: loss" in said.err and "succession" in said.err
    assert status_of(["testbed", "train", str(model)]) == 2
    assert "already there" in capfd.readouterr().err
    assert status_of(["run", "Today is", "--model", str(model), "--top", "1"]) == 0
