"""`landed reproduce`: the readings of `reproduce` as JSON and as tables, and what is refused."""

import json
from pathlib import Path

import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of


def test_it_says_what_python_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into, prompts = tmp_path / "claims.json", tmp_path / "prompts.txt"
    texts = ["The Colosseum is in the city of", "The keys near the bottle"]
    prompts.write_text("\n".join(texts))
    asked = ["reproduce", "--claim", "few coordinates", "--prompts", str(prompts), "--json", str(into)]
    assert status_of(asked) == 0
    table = capsys.readouterr().out
    document = json.loads(into.read_text())
    found = landed.claims.reproduce(landed.load(), texts, claims=["few coordinates"])
    theirs = json.loads(json.dumps(found.to_dict()))
    for made in (document["manifest"], theirs["manifest"]):
        made.pop("command"), made["prompts"].pop("source")
    assert document == theirs
    assert "11 to 90 coordinates of thousands carry a logit" in table and "2 prompts" in table


def test_one_claim_alone_on_its_own_prompts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert status_of(["reproduce", "--claim", "one write", "--count", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and any("Mistral-7B" in line for line in lines)


def test_claims_are_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    into, prompts = tmp_path / "claims.json", tmp_path / "prompts.txt"
    prompts.write_text("The Colosseum is in the city of\nThe keys near the bottle\n")
    asked = ["reproduce", "--claim", "same scale", "--json", str(into)]
    assert status_of([*asked, "--prompts", str(prompts)]) == 0
    capsys.readouterr()
    assert status_of(["rerun", str(into), "--json", "-"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["same"] and again["made_otherwise"] == []
    assert {each["largest"] for each in again["differences"]} == {0.0}
    # Other prompts are another measurement, however near its numbers are; what made it is said.
    prompts.write_text("The Louvre is in the city of\nThe key near the bottle\n")
    assert status_of(["rerun", str(into)]) == 1
    shown = capsys.readouterr().out
    assert "prompts.digest is" in shown and "then and" in shown and max(map(len, shown.splitlines())) <= 80
    prompts.unlink()
    assert status_of(["rerun", str(into)]) == 2
    document = json.loads(into.read_text())
    document["manifest"]["prompts"]["source"] = "given in Python"
    into.write_text(json.dumps(document))
    assert status_of(["rerun", str(into)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 2 and "not here" in error and "in no file" in error


def test_a_damaged_document_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = landed.claims.reproduce(landed.load(), count=4, claims=["same scale"])
    into, whole = tmp_path / "claims.json", json.dumps(found.to_dict())
    for path, value in (
        (("manifest", "claims"), 5),
        (("manifest", "claims"), []),
        (("manifest", "prompts", "count"), -3),
        (("manifest", "prompts", "source"), 5),
        (("manifest", "model", "source"), None),
        (("manifest", "dtype"), "int32"),
        (("readings",), []),
        (("readings", 0, "value"), "x"),
        (("readings", 0, "interval"), [1]),
        (("readings", 0, "interval"), None),
        (("readings", 0), {"claim": "same scale"}),
    ):
        document = json.loads(whole)
        part = document
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
        into.write_text(json.dumps(document))
        assert status_of(["rerun", str(into)]) == 2, path
        error = capsys.readouterr().err
        assert "damaged" in error and error.count("\n") == 1


def test_a_value_may_move_by_rounding_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "claims.json"
    document = landed.claims.reproduce(landed.load(), count=8, claims=["same scale"]).to_dict()
    row = next(row for row in document["readings"] if row["interval"][0] < row["interval"][1])
    value = row["value"]
    for moved, status in ((value * (1 + 1e-6), 0), (row["interval"][1], 1), (row["interval"][0], 1)):
        row["value"] = moved
        into.write_text(json.dumps(document))
        assert status_of(["rerun", str(into)]) == status


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--claim", "x"], "There is no claim 'x'"),
        (["--count", "1"], "--count"),
        (["--prompts", "none.txt"], "none.txt"),
    ],
)
def test_bad_usage_is_one_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["reproduce", *arguments]) == 2
    said = capsys.readouterr()
    assert says in said.err and not said.out and said.err.count("landed:") == 1
