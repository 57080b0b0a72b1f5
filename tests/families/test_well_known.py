"""The configurations of well-known checkpoints, and the parameter counts that their publishers give."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.writer import config_to_hf
from landed_jax.errors import LandedError
from landed_jax.nn.parameters import count_parameters
from tests.needs import needs_torch

KNOWN = json.loads(Path(__file__).with_name("well_known.json").read_text())


@pytest.mark.parametrize(("name", "known"), KNOWN["accepted"].items(), ids=KNOWN["accepted"])
def test_a_supported_checkpoint_has_its_publishers_parameters(name: str, known: dict[str, Any]) -> None:
    config = config_from_hf(known["config"])
    if known.get("two_tables"):  # in the files, and so the tables are read as two, though the config ties them
        config = dataclasses.replace(config, tie_embeddings=False)
    assert count_parameters(config) == known["parameters"] - known.get("other_parts", 0)


@pytest.mark.parametrize(("name", "known"), KNOWN["accepted"].items(), ids=KNOWN["accepted"])
def test_a_known_configuration_comes_back_from_ours(name: str, known: dict[str, Any]) -> None:
    config = config_from_hf(known["config"])
    assert config_from_hf(json.loads(json.dumps(config_to_hf(config)))) == config


@needs_torch
@pytest.mark.parametrize(
    ("name", "known"), [(name, known) for name, known in KNOWN["accepted"].items() if "other_parts" in known]
)
def test_other_parts_are_what_transformers_makes_of_them(name: str, known: dict[str, Any]) -> None:
    """The publishers' counts are of the whole model; what is left out is counted by its classes, without memory."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    fields = dict(known["config"])
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    text = sum(weight.numel() for weight in model.model.language_model.parameters())
    assert sum(weight.numel() for weight in model.parameters()) - text == known["other_parts"]


@pytest.mark.parametrize(("name", "config"), KNOWN["refused"].items(), ids=KNOWN["refused"])
def test_another_family_is_refused_by_its_name(name: str, config: dict[str, Any]) -> None:
    with pytest.raises(LandedError, match=f"model_type is '{config['model_type']}'"):
        config_from_hf(config)
