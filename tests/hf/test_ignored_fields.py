"""What a config.json says and nobody heeds: as the reference does, by its name, or on request."""

import pytest

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, LandedWarning
from landed_jax.nn.config import RopeConfig
from tests.hf.test_gate import LLAMA, MISTRAL, read


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0, "beta_fast": 3}}, "rope_scaling.beta_fast = 3"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0, "finetuned": True}}, "rope_scaling.finetuned = True"),
        ({"rope_scaling": {"type": "default", "factor": 8.0}}, "rope_scaling.factor = 8.0"),
        ({"rope_parameters": {"rope_type": "default", "mrope_section": [1]}}, "rope_parameters.mrope_section = [1]"),
        ({"rope_scaling": {"type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"partial_rotary_factor": 0.5}, "config.json: partial_rotary_factor = 0.5"),
    ],
    ids=str,
)
def test_rotary_settings_that_the_reference_ignores(changes, named):
    notes = Notes()
    config = config_from_hf({**LLAMA, **changes}, notes=notes)
    kind = "linear" if config.rope.kind == "linear" else "default"
    assert config.rope == (RopeConfig("linear", factor=2.0) if kind == "linear" else RopeConfig())
    (said,) = notes.texts
    assert named in said and "is ignored, as transformers does" in said
    with pytest.warns(LandedWarning, match=r"is ignored, as transformers does"):
        notes.give_warnings()


@pytest.mark.parametrize(
    ("base", "name"),
    [
        *((LLAMA, name) for name in ("LLaMAForCausalLM", "LLaMaForCausalLM", "LlamaModel", "FSDPLlamaForCausalLM")),
        *((MISTRAL, name) for name in ("MistralModel", "MISTRALForCausalLM")),
    ],
)
def test_the_same_class_in_other_spellings(base, name):
    assert read(base, architectures=[name]) == read(base)


def test_code_of_the_checkpoint_that_the_reference_has_itself():
    code = {"AutoConfig": "configuration_llama.LlamaConfig", "AutoModelForCausalLM": "x--modeling.LlamaForCausalLM"}
    notes = Notes()
    assert config_from_hf({**LLAMA, "auto_map": {**code, "AutoTokenizer": "some/where"}}, notes=notes) == read()
    assert notes.texts == [
        "config.json: auto_map names code that came with the checkpoint; it was not executed, and the model is read as "
        "transformers' own LlamaForCausalLM"
    ]
    for other in ({"AutoModel": "x.Llama2Model"}, {"AutoTokenizer": "x.Y"}, ["LlamaModel"], {"AutoConfig": ["x"]}):
        with pytest.raises(LandedError, match="never executed"):
            read(auto_map={**code, **other} if isinstance(other, dict) and "AutoTokenizer" not in other else other)


def test_fields_are_ignored_on_request():
    odd = {**LLAMA, "logit_scale": 2.0, "sliding_window": 8, "some_switch": False}
    notes = Notes()
    assert config_from_hf(odd, ["logit_scale", "sliding_window", "some_switch"], notes) == read()
    assert notes.texts == [
        "config.json: logit_scale = 2.0 was ignored on request",
        "config.json: sliding_window = 8 was ignored on request",
        "config.json: some_switch = False was ignored on request",
    ]
    notes.give_warnings()  # of what the user asked for there is no warning
    for names, said in (
        (["logit_scale"], "sliding_window = 8"),
        (["no_such"], "no_such is to be ignored, but there is no such field"),
        (["hidden_size"], "hidden_size is to be ignored, but the model's numbers depend on it"),
        (["rms_norm_eps"], "there is no such field"),
        (["model_type"], "model_type is to be ignored, but the model's numbers depend on it"),
    ):
        with pytest.raises(LandedError) as caught:
            config_from_hf(odd, names)
        assert said in str(caught.value)
    with pytest.raises(LandedError, match="quantization_config is to be ignored, but the model's numbers depend on it"):
        config_from_hf({**LLAMA, "quantization_config": {"bits": 4}}, ["quantization_config"])
    assert config_from_hf({**MISTRAL, "attention_bias": True}, ["attention_bias"]) == read(MISTRAL)
