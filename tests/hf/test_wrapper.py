"""Larger models that hold a family's text model: which of their fields and tensors are read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.notes import Notes
from landed_jax.checkpoints.opening import Reading, open_folder, survey_folder
from landed_jax.errors import LandedError
from landed_jax.families import families, wrappers
from landed_jax.loading import load
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import CONFIG, assert_same, hf_config, make_tensors
from tests.hf.test_adapter import RANK, write_adapter

TEXT = {**hf_config(CONFIG), "model_type": "mistral", "sliding_window": None, "tie_word_embeddings": True}
for _of_llama in ("attention_bias", "mlp_bias"):
    del TEXT[_of_llama]
VALUES = {
    "model_type": "mistral3",
    "architectures": ["Mistral3ForConditionalGeneration"],
    "text_config": TEXT,
    "vision_config": {"hidden_size": 8, "rope_theta": 3.0, "model_type": "pixtral"},
    "vision_feature_layer": -1,
    "image_token_index": 10,
    "tie_word_embeddings": False,
}
VISION = {
    "vision_tower.ln_pre.weight": np.ones(8, np.float32),
    "vision_tower.transformer.layers.0.attention.q_proj.weight": np.ones((8, 8), np.int8),
    "multi_modal_projector.linear_1.weight": np.full((16, 8), np.nan, np.float32),
}
NAMES = {
    "language_model.model.": lambda name: f"language_model.{name}",
    "model.language_model.": lambda name: name.replace("model.", "model.language_model."),
}


def write(folder: Path, spelling: str, values: dict[str, Any] = VALUES, **others: np.ndarray) -> dict[str, np.ndarray]:
    """The text model's tensors, by the names in the file."""
    tensors = {NAMES[spelling](name): tensor for name, tensor in make_tensors()[1].items()}
    parts = {f"model.{name}" if spelling.startswith("model.") else name: tensor for name, tensor in VISION.items()}
    save_file({**tensors, **parts, **others}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(values))
    return tensors


def refusal(values: dict[str, Any], **reading: Any) -> str:
    with pytest.raises(LandedError) as caught:
        config_from_hf(values, **reading)
    return str(caught.value)


@pytest.mark.parametrize("spelling", NAMES)
def test_the_text_model_is_read_and_the_rest_is_noted(tmp_path: Path, spelling: str) -> None:
    write(tmp_path, spelling)
    notes = Notes()
    config, params = open_folder(tmp_path, Reading(), notes, mesh=None, stacked=False, progress=None)
    assert config.family == "mistral" and config == ModelConfig(**{**vars(CONFIG), "family": "mistral"})
    assert_same(params, make_tensors()[0])
    assert notes.texts == [
        f"of the model in {tmp_path} only the text model was read, without multi_modal_projector, vision_tower"
    ]
    model = load(tmp_path)  # no warning: only text was asked for
    assert list(model.notes) == notes.texts


def test_a_plain_model_has_no_other_parts(tmp_path: Path) -> None:
    write(tmp_path, "language_model.model.", {**TEXT, "tie_word_embeddings": False})
    survey = survey_folder(tmp_path, Reading(), Notes())
    assert sum("is left over" in problem for problem in survey.problems) == len(VISION)


def test_another_tensor_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "model.language_model.", audio_tower=np.ones(3, np.float32))
    assert survey_folder(tmp_path, Reading(), Notes()).problems == [
        "audio_tower [3] is left over: this model has no such tensor"
    ]


@pytest.mark.parametrize("spelling", NAMES)
def test_an_adapter_of_the_text_model_is_merged(tmp_path: Path, spelling: str) -> None:
    tensors = write(tmp_path, spelling)
    query = NAMES[spelling]("model.layers.1.self_attn.q_proj")
    factors = write_adapter(tmp_path / "lora", {query: RANK}, tensors)
    params = load(tmp_path, adapter=tmp_path / "lora").params
    down, up = (factor.astype(np.float64) for factor in factors[query])
    expected = tensors[f"{query}.weight"].astype(np.float64) + 5 / 3 * up @ down
    found = np.asarray(params["layers"]["1"]["attn"]["W_Q"]).reshape(-1, 16)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_whether_the_tables_are_one_is_said_for_the_whole() -> None:
    assert not config_from_hf(VALUES).tie_embeddings
    assert config_from_hf({**VALUES, "tie_word_embeddings": True}).tie_embeddings
    absent = {name: value for name, value in VALUES.items() if name != "tie_word_embeddings"}
    assert config_from_hf(absent).tie_embeddings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text_config": None}, "text_config = None (not an object with the text model's fields)"),
        ({"text_config": {**TEXT, "model_type": "qwen3"}}, "text_config.model_type = 'qwen3' (in mistral3 only"),
        ({"text_config": {**TEXT, "model_type": ["mistral"]}}, "text_config.model_type = ['mistral']"),
        ({"text_config": {**TEXT, "hidden_size": "16"}}, "text_config.hidden_size = '16'"),
        ({"text_config": {**TEXT, "logit_scale": 2}}, "text_config.logit_scale = 2 (an unknown field"),
        ({"logit_scale": 2}, "logit_scale = 2 (an unknown field"),
        ({"rope_theta": 5.0}, "rope_theta = 5.0 (an unknown field"),
        ({"tie_word_embeddings": None}, "tie_word_embeddings = None"),
        ({"quantization_config": {"bits": 4}}, "quantised weights"),
        ({"architectures": ["MistralForCausalLM"]}, "a mistral3 model is read as ['Mistral3ForConditionalGeneration']"),
    ],
    ids=str,
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    assert said in refusal({**VALUES, **changes})


def test_fields_of_both_objects_can_be_ignored() -> None:
    notes = Notes()
    values = {**VALUES, "logit_scale": 2, "text_config": {**TEXT, "other": 3}}
    assert config_from_hf(values, ["logit_scale", "other"], notes) == config_from_hf(VALUES)
    assert notes.texts == [
        "config.json: logit_scale = 2 was ignored on request",
        "config.json: text_config.other = 3 was ignored on request",
    ]
    assert "nothing is to be ignored, but there is no such field" in refusal(VALUES, ignore_fields=["nothing"])
    assert "hidden_size is to be ignored, but the model's numbers" in refusal(VALUES, ignore_fields=["hidden_size"])


def test_every_wrapper_holds_families() -> None:
    for wrapper in wrappers().values():
        assert wrapper.name not in families() and set(wrapper.texts) <= set(families())


def test_what_the_wrappers_class_ignores_is_refused() -> None:
    text = {"hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "final_logit_softcapping": 30.0}
    with pytest.raises(LandedError, match=r"text_config\.final_logit_softcapping = 30\.0 \(Gemma3ForCond"):
        config_from_hf({"model_type": "gemma3", "text_config": text})
    assert config_from_hf({"model_type": "gemma3_text", **text}).logit_cap == 30.0
