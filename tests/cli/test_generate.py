"""`landed run --generate` as a user types it."""

import json
from pathlib import Path

import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of

PROMPT = "The Colosseum is in the city of"


def test_the_account_of_each_generated_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    target = tmp_path / "generated.json"
    # The BOS that the text has is not added again.
    command = ["run", f"<s> {PROMPT}", "--generate", "2", "--top", "2", "--json", str(target)]
    assert status_of(command) == 0
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 80
    assert any("' Rome'" in line and "' Athens'" in line for line in shown)
    document = json.loads(target.read_text())
    expected = landed.load().generate(PROMPT, 2)
    assert document["token_ids"] == expected.prompts.ids[0].tolist() and document["token_ids"].count(1) == 1
    assert document["text"] == expected.text == " Rome." and document["prompt"] == f"<s> {PROMPT}"
    assert [one["id"] for one in document["generated"]] == list(expected.ids[0])
    assert [len(one["top_writes"]) for one in document["generated"]] == [2, 2]


def test_prompts_of_a_file_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"{PROMPT}\nThe keys near the bottle\n")
    drawn = ["--generate", "2", "--temperature", "2", "--seed", "5", "--json", "-"]
    assert status_of(["run", "--prompts", str(prompts), *drawn]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model = landed.load()
    for line in lines:
        expected = model.generate(line["prompt"], 2, temperature=2.0, seed=5)
        assert (line["temperature"], line["seed"], line["text"]) == (2.0, 5, expected.text)
    prompts.write_text(json.dumps({"prompt": PROMPT, "target": " Rome"}))
    assert status_of(["run", "--prompts", str(prompts), *drawn]) == 2
    assert "line 1: --generate accounts for each token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--generate", "0"], "0 is no number of tokens to generate"),
        (["--generate", "3", "--temperature", "-1"], "-1.0 is no temperature"),
        (["--generate", "3", "--temperature", "nan"], "nan is no temperature"),
        (["--generate", "3", "--temperature", "1", "--seed", "-2"], "-2 is no seed"),
        (["--generate", "3", "--seed", "2"], "--seed is of draws"),
        (["--temperature", "1"], "--temperature goes with --generate"),
        (["--seed", "1"], "--seed goes with --generate"),
        (["--generate", "3", "--lens"], "leave --lens out"),
        (["--generate", "3", "--target", " Rome"], "leave --target out"),
        (["--generate", "3", "--position", "-2"], "leave --position out"),
        (["--generate", "3", "--out", "x.nc"], "leave --out out"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    assert status_of(["run", PROMPT, *options]) == 2
    found = capsys.readouterr()
    assert found.out == "" and found.err.startswith("landed: ") and said in found.err and found.err.count("\n") == 1
