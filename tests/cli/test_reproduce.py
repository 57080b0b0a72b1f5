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
    # Another prompt of as many tokens: its SHA-256 is another, and what varies over prompts is.
    prompts.write_text("The Louvre is in the city of\nThe key near the bottle\n")
    assert status_of(["rerun", str(into)]) == 1
    shown = capsys.readouterr().out
    assert "prompts.digest is" in shown and max(map(len, shown.splitlines())) <= 80
    prompts.unlink()
    assert status_of(["rerun", str(into)]) == 2
    document = json.loads(into.read_text())
    document["manifest"]["prompts"]["source"] = "given in Python"
    into.write_text(json.dumps(document))
    assert status_of(["rerun", str(into)]) == 2
    del document["readings"][0]["interval"]
    into.write_text(json.dumps(document))
    assert status_of(["rerun", str(into)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 3 and "in no file" in error and "lacks 'interval'" in error


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
