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
    assert document == json.loads(json.dumps(found.to_dict()))
    assert "11 to 90 coordinates of thousands carry a logit" in table and "2 prompts" in table


def test_one_claim_alone_on_its_own_prompts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert status_of(["reproduce", "--claim", "one write", "--count", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and any("Mistral-7B" in line for line in lines)


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
