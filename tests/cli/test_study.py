"""`landed study`, `landed merge` and `landed rerun`, as one gives them."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.cli.commands import status_of
from tests.checkpoints import CONFIG, make_tensors, write_checkpoint
from tests.vocabularies import sentencepiece_like


@pytest.mark.quick
def test_a_study_goes_on_is_merged_and_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "a.txt").write_text("The Colosseum is in the city of\n\nOnce upon a time\n")
    asked = {"prompt": "The Louvre is in the city of", "target": " Paris"}
    (tmp_path / "b.jsonl").write_text(json.dumps(asked) + '\n{"prompt": ""}\n')
    a, b, c = (str(tmp_path / name) for name in "abc")
    keep = ["--keep", "attribution,stability"]
    assert status_of(["study", f"{a}.txt", *keep, "--out", a, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["prompts"] == 2 and document["without_numbers"] == {}
    heads = document["statistics"]["attribution.heads.mean"]
    assert heads["dims"] == ["layer", "head"] and len(heads["values"]) == 4
    assert status_of(["study", f"{a}.txt", *keep, "--out", a]) == 0
    shown = capsys.readouterr().out
    assert "2 prompts" in shown and "attribution.heads, the 12 largest means of 32" in shown
    assert "Stability of the norms" in shown and "attribution.heads by sign" in shown
    assert "first: 2 positions of 2 prompts" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert status_of(["study", f"{b}.jsonl", *keep, "--out", b]) == 0
    assert "hold no token" in capsys.readouterr().out
    assert status_of(["merge", a, b, "--out", c]) == 0
    assert "4 prompts" in capsys.readouterr().out
    assert status_of(["rerun", a]) == 0
    assert "2 prompts run again" in capsys.readouterr().out
    assert status_of(["rerun", c]) == 2
    assert "was merged: run its parts again" in capsys.readouterr().err


def test_checkpoints_are_an_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "steps").mkdir()
    for step in ("000100", "000020"):
        (tmp_path / "steps" / step).symlink_to(bundled_folder())
    ask = ["study", "testbed:succession", "--count", "4", "--keep", "attribution", "--checkpoints"]
    steps, out = str(tmp_path / "steps"), ["--out", str(tmp_path / "out")]
    assert status_of([*ask, steps, *out, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["checkpoints"] == [20, 100] and document["names"] == ["000020", "000100"]
    assert [one["prompts"] for one in document["studies"]] == [4, 4]
    assert status_of([*ask, steps, *out]) == 0
    shown = capsys.readouterr().out
    assert "2 checkpoints" in shown and "the 4 of 32 that change most" in shown
    assert max(map(len, shown.splitlines())) <= 80
    tokenizer = sentencepiece_like()
    config = dataclasses.replace(CONFIG, vocab_size=len(tokenizer))
    other = write_checkpoint(tmp_path / "other", make_tensors(config)[1], config)
    tokenizer.save_pretrained(other)
    renamed = tmp_path / "renamed"
    shutil.copytree(bundled_folder(), renamed)
    words = json.loads((renamed / "tokenizer.json").read_text())
    known = words["model"]["vocab"]
    known["▁Rome"], known["▁Paris"] = known["▁Paris"], known["▁Rome"]
    (renamed / "tokenizer.json").write_text(json.dumps(words))
    for models, said in (
        (f"{steps}/000020,{steps}/000300", "000300"),
        (f"{steps}/000020,{other}", "000020 and other are not of one model: n_layers 4 and 3"),
        (f"{steps}/000020,{renamed}", "000020 and renamed have different vocabularies"),
    ):
        assert status_of([*ask, models, "--out", str(tmp_path / "none")]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and not (tmp_path / "none").exists()


def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["study", "nothing.txt"], "There is no file nothing.txt of prompts."),
        (["study", "task:agreement", "--keep", "everything"], "nothing to keep by the name 'everything'"),
        (["study", "task:agreement", "--keep", ","], "--keep names nothing"),
        (["merge", str(tmp_path), "--out", str(tmp_path / "out")], "two or more"),
        (["rerun", str(tmp_path / "none")], "There is no study in"),
        (["study", "task:agreement", "--revisions", "step1"], "of the model that --model names"),
        *(
            (["study", "task:agreement", "--model", model, "--revisions", "step1"], f"which {model!r} is not")
            for model in ("bundled", "owner/name@step2", str(tmp_path))
        ),
        (["study", "task:agreement", "--model", "m", "--checkpoints", "a,b"], "leave --model out"),
        (["study", "task:agreement", "--checkpoints", "a,"], "lacks a name before or behind a comma"),
    ):
        assert status_of(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_prompts_that_are_others_now_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    prompts, store = tmp_path / "a.txt", str(tmp_path / "a")
    prompts.write_text("The Colosseum is in the city of\nThe Louvre is in the city of\n")
    assert status_of(["study", str(prompts), "--keep", "scale,stability", "--out", store]) == 0
    assert status_of(["rerun", store]) == 0
    shown = capsys.readouterr().out
    assert "inverse_sigma, variance between" in shown and "prompts.digest" not in shown
    prompts.write_text("The Colosseum is in the city of\nThe keys near the bottle are old\n")
    assert status_of(["rerun", store]) == 1
    assert "prompts.digest is" in capsys.readouterr().out
