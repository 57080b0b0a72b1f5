"""`landed compare`: tables at 80 columns, JSON, MIB's files, and what is refused."""

import json
from pathlib import Path

import pytest

import landed_jax as landed
from landed_jax.circuits import read_circuit
from landed_jax.cli.commands import status_of

FEW = ["compare", "--task", "facts", "--prompts", "6", "--circuit-prompts", "4", "--neurons", "8"]


def test_tables_fit_and_the_json_has_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    into = tmp_path / "found.json"
    asked = [*FEW, "--methods", "landed,random", "--level", "heads", "--level", "neurons", "--json", str(into)]
    assert status_of([*asked, "--out", str(tmp_path / "study")]) == 0
    said = capsys.readouterr()
    assert max(map(len, said.out.splitlines())) <= 80
    assert "facts, heads, zero ablation of 32 components" in said.out and "own ablation" in said.out
    assert "forward passes, about" in said.err
    document = json.loads(into.read_text())
    assert document["settings"]["prompts"] == 6
    [task] = document["tasks"]
    assert task["prompts"]["used"] == 6 and task["prompts"]["in_circuits"] == 4
    assert task["prompts"]["drawn"] >= task["prompts"]["single_tokens"] >= task["prompts"]["right"] >= 6
    heads, neurons = task["levels"]
    assert heads["ablated_alone"] == heads["components"] == 32 and neurons["ablated_alone"] == 8
    for row in [*heads["rows"], *neurons["rows"]]:
        assert row["correlation"]["pearson"]["low"] <= row["correlation"]["pearson"]["estimate"]
        assert row["faithfulness_by_score"][-1] == 1 and len(row["fraction"]) == len(row["count"]) == 10
        assert row["enough"]["low"] <= row["enough"]["estimate"] <= row["enough"]["high"]
    assert {method["method"] for method in task["methods"]} == {"landed", "random"}
    assert all(method["cost"] > 0 for method in task["methods"])


@pytest.mark.slow
def test_edges_are_written_as_mib_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "circuits"
    asked = [*FEW, "--methods", "random", "--level", "edges", "--ablation", "resample", "--circuits", str(into)]
    assert status_of([*asked, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    [level] = document["tasks"][0]["levels"]
    assert level["level"] == "edges" and len(level["rows"]) == len(list(into.iterdir())) == 2
    for path in into.iterdir():
        circuit = read_circuit(path)
        assert circuit.graph.n_layers == landed.load().config.n_layers and circuit.in_circuit.all()
        assert (circuit.scores != 0).any()
    for row in level["rows"]:
        assert row["faithfulness_by_score"][-1] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "chess"], "no task 'chess'"),
        (["--methods", "landed,astrology"], "no method 'astrology'"),
        (["--circuits", "somewhere"], "--level edges"),
        (["--prompts", "1"], "--prompts"),
        (["--seed", "-5"], "--seed"),
        (["--methods", "ALTI-Logit", "--level", "neurons"], "None of these methods scores neurons"),
        (["--json", "no/such/folder.json"], "does not exist"),
    ],
)
def test_bad_input_is_a_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("landed: ") and not captured.out
