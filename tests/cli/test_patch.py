"""`landed patch`: the numbers of Python, as maps, a table, JSON and a file; and its refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of
from landed_jax.patching import activation_patching, attribution_patching

CLEAN, CORRUPTED = "The Colosseum is in the city of", "The Louvre is in the city of"
KINDS = ("attn", "mlp", "residual")


def of_cell(found: Any, cell: dict[str, Any], name: str) -> float:
    """The number of Python's result."""
    labels = dict(found.labels)
    if cell["kind"] == "head":
        place = (cell["layer"], cell["index"])
    else:
        place = (KINDS.index(cell["kind"]), cell["layer"], labels["column"].index(cell["position"]))
    return float(getattr(found, name)[place][0, 0])


@pytest.mark.quick
def test_it_says_what_python_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out, into = str(tmp_path / "patches.nc"), str(tmp_path / "patches.json")
    assert status_of(["patch", CLEAN, CORRUPTED, "--top", "3", "--json", into, "--out", out]) == 0
    said = capsys.readouterr().out
    document = json.loads(Path(into).read_text())
    found = activation_patching(landed.load(), CLEAN, CORRUPTED)
    assert len(document["cells"]) == found.effect.size
    for cell in document["cells"]:
        for name in ("effect", "value", "recovered"):
            np.testing.assert_allclose(cell[name], of_cell(found, cell, name), rtol=1e-4, atol=1e-4)
    sizes = [abs(cell["effect"]) for cell in document["cells"]]
    assert sizes == sorted(sizes, reverse=True)
    assert (document["target"]["text"], document["against"]["text"]) == (" Rome", " Paris")
    assert document["corrupted"]["tokens"][2] == " Louvre"
    np.testing.assert_allclose(document["clean"]["value"], found.clean[0, 0], rtol=1e-5)
    assert said.count("\nlayer ") == 3 and "2 ' Colosseum' and ' Louvre'" in said
    assert "The 3 largest effects of 64 writes" in said and "recovered: (value − corrupted)" in said
    assert max(map(len, said.splitlines())) <= 80
    np.testing.assert_allclose(landed.load_result(out).recovered, found.recovered, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_heads_in_forty_columns(
    direction: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    asked = ["patch", CLEAN, CORRUPTED, "--components", "heads", "--direction", direction, "--target", " Rome"]
    assert status_of(asked) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 40
    assert {"denoise": "Fraction recovered", "noise": "Fraction lost"}[direction] in said
    assert "head 2.7" in said.split("largest effects of 32 heads")[1].splitlines()[3]


def test_attribution_as_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["patch", CLEAN, CORRUPTED, "--components", "heads", "--attribution", "--steps", "2", "--json", "-"]
    assert status_of(asked) == 0
    document = json.loads(capsys.readouterr().out)
    found = attribution_patching(landed.load(), CLEAN, CORRUPTED, components="heads", steps=2)
    assert document["method"] == found.method and document["measure"] == "recovered"
    for cell in document["cells"]:
        np.testing.assert_allclose(cell["effect"], of_cell(found, cell, "effect"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("measure", "says"),
    [
        ("probability", "Change of the probability"),
        ("kl", "KL divergence from the clean prompt at position 7: clean 0.0000"),
        ("rank", "' Rome': rank at position 7: clean 0, corrupted"),
        ("logit", "Change of the logit difference"),
    ],
)
def test_measures(measure: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["patch", CLEAN, CORRUPTED, "--components", "heads", "--measure", measure]) == 0
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([CLEAN], "Missing argument 'CORRUPTED'"),
        ([CLEAN, CLEAN], "nothing to patch"),
        ([CLEAN, f"{CORRUPTED} the"], "has 8 tokens and the corrupted one 9"),
        (["-", "-"], "Standard input holds one prompt"),
        ([CLEAN, CORRUPTED, "--steps", "3"], "--steps goes with --attribution"),
        ([CLEAN, CORRUPTED, "--measure", "kl", "--target", " Rome"], "leave --target out"),
        ([CLEAN, CORRUPTED, "--measure", "rank", "--against", " Rome"], "--against goes with"),
        ([CLEAN, CORRUPTED, "--measure", "rank", "--attribution"], "rank has no derivative"),
        ([CLEAN, CORRUPTED, "--position", "99"], "outside the prompt"),
        ([CLEAN, CORRUPTED, "--position", "1"], "differ only after position 1"),
        ([CLEAN, CORRUPTED, "--out", "patches.txt"], ".nc"),
        ([CLEAN, CORRUPTED, "--out", "a.nc", "--json", "a.nc"], "the same file"),
        ([CLEAN, CORRUPTED, "--against", " Rome", "--components", "heads"], "are the same token, ' Rome'"),
        (
            [CLEAN, CORRUPTED, "--against", " Rome", "--measure", "logit", "--components", "heads"],
            "are the same token, ' Rome'",
        ),
        ([CLEAN, CORRUPTED, "--ids", "--no-bos"], "two ways to read a prompt"),
    ],
)
def test_bad_input_is_a_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["patch", *arguments]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("landed: ") and not captured.out


@pytest.mark.parametrize("measure", ["recovered", "logit", "probability"])
def test_values_that_are_not_finite_are_named(
    measure: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = landed.load()
    params = {**model.params, "final_norm": {"gamma": model.params["final_norm"]["gamma"].at[0].set(np.nan)}}
    changed = landed.Model(model.config, params, model.vocabulary)
    monkeypatch.setattr("landed_jax.loading.load", lambda *_, **__: changed)
    asked = ["patch", CLEAN, CORRUPTED, "--components", "heads", "--measure", measure]
    assert status_of(asked) == 2
    assert "The model's values are not finite: the" in capsys.readouterr().err


def test_a_fraction_of_nothing_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts after which a token has one logit: a model whose unembedding row is 0."""
    model = landed.load()
    rows = model.params["unembed"]["W_U"] if "unembed" in model.params else model.params["embed"]["W_E"]
    token = model.vocabulary.token_id(" Rome")  # pyright: ignore[reportOptionalMemberAccess] # it has one
    params = {**model.params, "unembed": {"W_U": rows.at[token].set(0)}}
    changed = landed.Model(model.config, params, model.vocabulary)
    monkeypatch.setattr("landed_jax.loading.load", lambda *_, **__: changed)
    asked = ["patch", CLEAN, CORRUPTED, "--target", " Rome", "--components", "heads"]
    assert status_of(asked) == 2
    assert "nearly the same after both prompts (0.0000 and 0.0000)" in capsys.readouterr().err
    assert status_of([*asked, "--measure", "logit", "--json", "-"]) == 0
    assert all(cell["recovered"] is None for cell in json.loads(capsys.readouterr().out)["cells"])
