"""`landed heads`: the numbers of `head_scores`, as JSON, a table of 80 columns and a file."""

import json
from pathlib import Path

import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of
from landed_jax.roles import head_scores


def test_it_says_what_python_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out, into = str(tmp_path / "heads.nc"), str(tmp_path / "heads.json")
    asked = ["heads", "--sequences", "8", "--length", "8", "--seed", "2", "--top", "3", "--sort", "previous_token"]
    assert status_of([*asked, "--json", into, "--out", out]) == 0
    table = capsys.readouterr().out
    found = head_scores(landed.load(), sequences=8, length=8, seed=2)
    rows = json.loads(Path(into).read_text())["heads"]
    assert len(rows) == 32
    for row in rows:
        for name in ("induction", "previous_token", "duplicate_token", "copying", "suppression"):
            assert row[name]["mean"] == pytest.approx(found.mean(name)[row["layer"], row["head"]], abs=1e-5)
            assert row[name]["low"] <= row[name]["mean"] <= row[name]["high"]
    first = max(rows, key=lambda row: row["previous_token"]["mean"])
    assert f"\n{first['layer']}.{first['head']} " in table and max(map(len, table.splitlines())) <= 80
    assert landed.load_result(out).induction.shape == (4, 8, 8)


def test_json_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["heads", "--sequences", "8", "--length", "8", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["sequences"] == 8


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--length", "2000"], "cannot be drawn"), (["--out", "heads.txt"], ".nc")]
)
def test_bad_input_is_a_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["heads", *arguments]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("landed: ") and not captured.out
