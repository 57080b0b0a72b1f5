"""`landed study`, `landed merge` and `landed rerun`, as one gives them."""

import json
from pathlib import Path

import pytest

from landed_jax.cli.commands import status_of


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


def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["study", "nothing.txt"], "There is no file nothing.txt of prompts."),
        (["study", "task:agreement", "--keep", "everything"], "nothing to keep by the name 'everything'"),
        (["study", "task:agreement", "--keep", ","], "--keep names nothing"),
        (["merge", str(tmp_path), "--out", str(tmp_path / "out")], "two or more"),
        (["rerun", str(tmp_path / "none")], "There is no study in"),
    ):
        assert status_of(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
