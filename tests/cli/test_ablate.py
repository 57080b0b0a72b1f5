"""`landed ablate`: the numbers of `effects_table`, as JSON, a table and a file; and what a sweep would cost."""

import json
from pathlib import Path

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of

PROMPT = "The Colosseum is in the city of"


def test_it_says_what_python_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, into = str(tmp_path / "effects.nc"), str(tmp_path / "effects.json")
    asked = ["ablate", PROMPT, "--target", " Rome", "--against", " Athens", "--top", "3"]
    assert status_of([*asked, "--json", into, "--out", out]) == 0
    table = capsys.readouterr().out
    document = json.loads(Path(into).read_text())
    found = landed.effects_table(landed.load(), PROMPT, " Rome", " Athens")
    assert len(document["components"]) == found.total.size
    for row in document["components"]:
        assert row["kind"] == "head"
        for name in ("total", "direct", "indirect", "total_frozen", "direct_frozen", "indirect_frozen", "self_repair"):
            numbers = np.asarray(getattr(found, name))
            np.testing.assert_allclose(row[name], numbers[row["layer"], row["index"], 0, 0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(row["direct"] + row["indirect"], row["total"], atol=1e-6)
    sizes = [abs(row["total"]) for row in document["components"]]
    assert sizes == sorted(sizes, reverse=True)
    assert "logit difference 7.3488" in table and table.count("\nhead ") == 3
    saved = landed.load_result(out)
    np.testing.assert_allclose(saved.total, found.total, rtol=1e-4, atol=1e-4)


def test_of_layers_and_the_likeliest_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["ablate", PROMPT, "--against", " Athens", "--components", "parts", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["target"]["text"] == " Rome" and document["against"]["text"] == " Athens"
    assert sorted((row["kind"], row["layer"]) for row in document["components"]) == [
        (kind, layer) for kind in ("attn", "mlp") for layer in range(4)
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", " Rome", "--against", " Rome"], "same token"),
        (["--position", "99"], "outside the prompt"),
        (["--out", "effects.txt"], ".nc"),
    ],
)
def test_bad_input_is_a_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["ablate", PROMPT, *arguments]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("landed: ") and not captured.out


@pytest.mark.parametrize(("over", "runs"), [("heads", 32), ("parts", 8), ("positions", 4 * 3 * 40)])
def test_what_a_sweep_costs(over: str, runs: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["info", "--sweep", over, "--length", "40"]) == 0
    said = capsys.readouterr().out
    assert f"A sweep over {over}, 1 × 40 tokens" in said
    assert f"{runs}" in said.split("A sweep over")[1]
