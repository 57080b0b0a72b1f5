"""`landed plan`: its tables say what its JSON says, at every width; and what is refused."""

import json
from pathlib import Path

import pytest

from landed_jax.cli.commands import status_of
from landed_jax.memory.shortage import human_bytes
from landed_jax.report.numbers import duration

SHAPES = Path(__file__).parents[2] / "conversion" / "shapes"
MODEL = str(SHAPES / "llama-3.1-8b")
CALL = ["plan", MODEL, "--topology", "v5e:4x4", "--length", "2048", "--batch", "8", "--prompts", "1000000"]


def planned(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[dict, str]:
    """The JSON and what is printed without it."""
    assert status_of([*CALL, *more]) == 0
    printed = capsys.readouterr().out
    assert status_of([*CALL, *more, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out), printed


@pytest.mark.quick
@pytest.mark.parametrize("width", [80, 40, 120])
def test_tables_are_the_json(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    document, printed = planned(capsys)
    assert max(map(len, printed.splitlines())) <= width
    words = " ".join(printed.split())
    memory, seconds = document["memory"], document["seconds"]
    parts = {part: size for part, size in memory.items() if part != "total"}
    assert sum(parts.values()) == memory["total"] <= document["topology"]["usable"] and document["fits"]
    assert all(human_bytes(size) in words for size in memory.values())
    assert all(duration(seconds[part]) in words for part in seconds if part != "fraction")
    assert duration(document["prompts"]["expected"]) in words and document["prompts"]["batches"] == 125_000
    assert f"data={document['mesh']['data']},model={document['mesh']['model']}" in words
    for mesh in document["other_meshes"]:
        row = next(line for line in printed.splitlines() if line.split()[:2] == [str(mesh["data"]), str(mesh["model"])])
        assert human_bytes(mesh["memory"]) in row


def test_the_json_is_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    document, _ = planned(capsys)
    keys = "model what length batch topology mesh dtype precision passes fits memory work seconds prompts other_meshes"
    assert list(document)[: len(keys.split())] == keys.split()  # fields may be added behind these


def test_a_given_mesh_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    document, printed = planned(capsys, "--mesh", "data=2,model=8")
    assert document["mesh"] == {"data": 2, "model": 8, "chosen": False}
    assert document["other_meshes"] == [] and "Meshes" not in printed


def test_weights_are_those_of_the_config(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fields = json.loads((SHAPES / "llama-3.1-8b" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"torch_dtype": "float32"}))
    wide = ["plan", str(tmp_path), *CALL[2:], "--mesh", "data=1,model=16", "--json", "-"]
    assert status_of(wide) == 0
    float32 = json.loads(capsys.readouterr().out)
    assert status_of([*wide, "--dtype", "bfloat16"]) == 0
    bfloat16 = json.loads(capsys.readouterr().out)
    assert (float32["dtype"], bfloat16["dtype"]) == ("float32", "bfloat16")
    assert float32["memory"]["parameters"] == 2 * bfloat16["memory"]["parameters"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--topology", "v5e:4y4"], "not understood"),
        (["--topology", "tpu:4"], "names no chip"),
        (["--mesh", "data=2,model=4"], "has 8 chips"),
        (["--mesh", "rows=2"], "not understood"),
        (["--mesh", "data=16"], "cannot be spread"),
        (["--topology", "v5e:3x1"], "No mesh"),
        (["--length", "0"], "--length"),
        (["--what", "everything"], "--what"),
    ],
)
def test_bad_usage_is_one_sentence(changed: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["plan", MODEL, "--topology", "v5e:4x4", "--batch", "8", *changed]
    assert status_of(call) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err and captured.err.count("\n") == 1


def test_only_the_config_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with no weights, and one with a weight file that cannot be read."""
    (tmp_path / "config.json").write_text((SHAPES / "llama-3.1-405b" / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    assert status_of(["plan", str(tmp_path), "--topology", "v5p:4x4x4", "--batch", "4"]) == 0
    assert "fits" in capsys.readouterr().out
