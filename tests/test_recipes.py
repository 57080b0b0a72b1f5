"""The recipes of conversion/: their facts are the publishers', and each family's conversion runs."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from conversion import __main__ as program
from conversion.recipes import Recipe, check, recipes, run
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.writer import write_checkpoint
from landed_jax.checkpoints.native import load_native
from landed_jax.families import families
from tests.checkpoints import assert_same
from tests.models import random_params

RECIPES = recipes()
KNOWN = json.loads((Path(__file__).parent / "families" / "well_known.json").read_text())["accepted"]
FIELDS = {
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "vocab_size": "vocab",
}


@pytest.mark.parametrize("name", RECIPES)
def test_facts_are_the_publishers(name: str) -> None:
    recipe, known = RECIPES[name], KNOWN[RECIPES[name].source]
    fields = known["config"].get("text_config", known["config"])
    for field, fact in FIELDS.items():
        if field in fields:
            assert getattr(recipe, fact) == fields[field]
    assert recipe.parameters == known["parameters"] - known.get("other_parts", 0)
    assert recipe.two_tables == known.get("two_tables", False)
    check(recipe, config_from_hf(known["config"]))


def tiny(family: str, folder: Path) -> Recipe:
    """A recipe of a small random checkpoint, which is written into `folder`."""
    sizes = {
        "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    spelled = {families()[family].spelled(name): value for name, value in sizes.items()}
    config = config_from_hf({"model_type": family, **{name: value for name, value in spelled.items() if name}})
    folder.mkdir()
    write_checkpoint(folder, config, random_params(config))
    return Recipe.of(str(folder), config)


@pytest.mark.parametrize("family", sorted({recipe.family for recipe in RECIPES.values()}))
def test_a_conversion_of_each_family(family: str, tmp_path: Path) -> None:
    recipe = tiny(family, tmp_path / "src")
    run(recipe, recipe.source, str(tmp_path / "dst"))
    config, params = load_native(tmp_path / "dst")
    assert config.family == family
    assert_same(params, random_params(config))


def test_another_model_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny("llama", tmp_path / "src")
    other = dataclasses.replace(recipe, layers=3, tied=not recipe.tied)
    monkeypatch.setattr(program, "recipes", lambda: {"other": other, "own": recipe})
    assert program.main(["other", str(tmp_path / "dst"), "--source", recipe.source]) == 2
    said = capsys.readouterr().err
    assert "layers is 2, not 3; tied is" in said and said.count("\n") == 1
    assert os.listdir(tmp_path) == ["src"]
    assert program.main(["own", str(tmp_path / "dst")]) == 0
    assert "Wrote" in capsys.readouterr().out


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 0
    said = capsys.readouterr().out
    assert all(name in said and recipe.source in said for name, recipe in RECIPES.items())
