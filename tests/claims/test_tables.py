"""The tables of docs/claims.md from what `landed reproduce --json` wrote."""

import json
from pathlib import Path

import pytest

import landed_jax as landed
from benchmarks import claims_tables


def test_a_column_a_model_and_a_row_a_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = landed.claims.reproduce(landed.load(), count=4, claims=["one write", "amplified writes"])
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        file.write_text(json.dumps({**found.to_dict(), "model": f"models/{file.stem}"}))
    assert claims_tables.run([str(file) for file in files]) == 0
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.startswith("|")]
    assert len(lines) == len(found.measured) + 4  # the headings of two tables
    assert lines[0] == "| reading | published | a | b |"
    for line in lines:  # |γ| in a reading's name is no column
        assert line.replace("\\|", "").count("|") == 5
    assert said.count("it is about Mistral-7B") == 2 * 5
