"""The config gate: every honoured field, against transformers' own reading, and every refusal."""

import json

import pytest

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig, RopeConfig
from tests.needs import NO_TORCH

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
MISTRAL = {**LLAMA, "architectures": ["MistralForCausalLM"], "model_type": "mistral"}
BASES = {"llama": LLAMA, "mistral": MISTRAL}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def read(base=LLAMA, **changes) -> ModelConfig:
    return config_from_hf({**base, **changes})


def refusal(base=LLAMA, **changes) -> str:
    with pytest.raises(LandedError) as caught:
        read(base, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.quick
def test_a_plain_config():
    assert read() == ModelConfig(
        vocab_size=96, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, max_positions=64
    )


@pytest.mark.parametrize("model_type", ["llama", "mistral"])
def test_an_empty_config_has_the_references_defaults(model_type):
    from transformers import LlamaConfig, MistralConfig

    reference = {"llama": LlamaConfig, "mistral": MistralConfig}[model_type]()
    ours = config_from_hf({"model_type": model_type})
    assert ours.vocab_size == reference.vocab_size
    assert ours.d_model == reference.hidden_size
    assert ours.d_ff == reference.intermediate_size
    assert ours.n_layers == reference.num_hidden_layers
    assert ours.n_heads == reference.num_attention_heads
    assert ours.n_kv_heads == reference.num_key_value_heads
    assert ours.head_dim == reference.head_dim
    assert ours.max_positions == reference.max_position_embeddings
    assert ours.norm_eps == reference.rms_norm_eps
    assert ours.activation == reference.hidden_act
    assert ours.tie_embeddings == reference.tie_word_embeddings
    assert ours.sliding_window == getattr(reference, "sliding_window", None)
    assert ours.rope.theta == reference.rope_parameters["rope_theta"]
    assert not ours.qkv_bias and not ours.output_bias and not ours.mlp_bias


@pytest.mark.parametrize("model_type", ["llama", "mistral"])
def test_what_transformers_saves_is_read(model_type, tmp_path):
    from transformers import LlamaConfig, MistralConfig

    kind = {"llama": LlamaConfig, "mistral": MistralConfig}[model_type]
    config = kind(**BASES[model_type], rope_parameters={**LLAMA3, "rope_theta": 500_000.0})
    config.save_pretrained(tmp_path)
    ours = config_from_hf(json.loads((tmp_path / "config.json").read_text()))
    assert ours.rope == RopeConfig("llama3", 500_000.0, 8.0, original_max_positions=16)


def test_head_dim():
    assert read(head_dim=None).head_dim == 8
    assert read(head_dim=6).head_dim == 6
    assert "hidden_size = 30 (not a multiple of num_attention_heads 4" in refusal(hidden_size=30)
    assert read(hidden_size=30, head_dim=6).head_dim == 6


def test_key_value_heads():
    without = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    assert config_from_hf(without).n_kv_heads == 4
    assert read(num_key_value_heads=None).n_kv_heads == 4
    assert read(MISTRAL, num_key_value_heads=None).n_kv_heads == 4
    absent = {**without, "model_type": "mistral", "architectures": None, "num_attention_heads": 16}
    assert config_from_hf(absent).n_kv_heads == 8
    assert "not a multiple of n_kv_heads 3" in refusal(num_key_value_heads=3)


def test_biases_and_tying():
    config = read(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)
    assert config.qkv_bias and config.output_bias and config.mlp_bias and config.tie_embeddings
    assert not read(MISTRAL, attention_bias=False, mlp_bias=False).qkv_bias
    message = refusal(MISTRAL, attention_bias=True, mlp_bias=True)
    assert "attention_bias = True" in message and "mlp_bias = True" in message


def test_sliding_window():
    assert read(MISTRAL).sliding_window == 4096
    assert read(MISTRAL, sliding_window=None).sliding_window is None
    assert read(MISTRAL, sliding_window=7).sliding_window == 7
    assert read(sliding_window=None).sliding_window is None
    assert "sliding_window = 7" in refusal(sliding_window=7)
    assert "sliding_window = 0" in refusal(MISTRAL, sliding_window=0)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("silu", "silu"),
        ("swish", "silu"),
        ("gelu", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("quick_gelu", "quick_gelu"),
        ("relu", "relu"),
        ("relu2", "relu2"),
    ],
)
def test_activations(name, ours):
    assert read(hidden_act=name).activation == ours


def test_other_activations_are_refused():
    assert "hidden_act = 'mish'" in refusal(hidden_act="mish")
    assert "hidden_act = ['silu']" in refusal(hidden_act=["silu"])


def test_rope_theta_in_both_places():
    assert read(rope_theta=5e5).rope.theta == 5e5
    assert read(rope_parameters={"rope_type": "default", "rope_theta": 3e4}).rope.theta == 3e4
    both = read(rope_theta=5e5, rope_parameters={"rope_type": "default", "rope_theta": 3e4})
    assert both.rope.theta == 3e4
    assert read(rope_theta=5e5, rope_scaling={"type": "linear", "factor": 2}).rope == RopeConfig("linear", 5e5, 2.0)


@pytest.mark.parametrize("spelling", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_kinds_in_every_spelling(spelling, key):
    assert read(**{spelling: {key: "default"}}).rope == RopeConfig()
    assert read(**{spelling: {key: "linear", "factor": 4.0}}).rope == RopeConfig("linear", factor=4.0)
    assert read(**{spelling: {key: "dynamic", "factor": 4}}).rope == RopeConfig("dynamic", factor=4.0)
    llama3 = {**{k: v for k, v in LLAMA3.items() if k != "rope_type"}, key: "llama3"}
    assert read(**{spelling: llama3}).rope == RopeConfig("llama3", factor=8.0, original_max_positions=16)
    assert read(**{spelling: None}).rope == read(**{spelling: {}}).rope == RopeConfig()


def test_two_spellings_must_agree():
    linear = {"type": "linear", "factor": 2.0}
    same = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    assert read(rope_scaling=linear, rope_parameters=same).rope == RopeConfig("linear", factor=2.0)
    assert "something else" in refusal(rope_scaling=linear, rope_parameters={**same, "factor": 3.0})
    assert "rope_type says 'dynamic'" in refusal(rope_scaling={**linear, "rope_type": "dynamic"})


YARN_DICTS = [
    {"factor": 4.0},
    {"factor": 4.0, "original_max_position_embeddings": 16},
    {"factor": None, "original_max_position_embeddings": 16},
    {"factor": 4.0, "attention_factor": 0.7},
    {"factor": 4.0, "mscale": 0.9, "mscale_all_dim": 0.4},
    {"factor": 4.0, "mscale": 0.9},
    {"factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.0},
    {"factor": 0.5, "mscale": 0.9, "mscale_all_dim": 0.4},
    {"factor": 4.0, "beta_fast": 16, "beta_slow": 2, "truncate": False},
    {"factor": 4.0, "beta_fast": None, "beta_slow": 0, "truncate": None, "attention_factor": None},
]
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 2, 3.5],
    "long_factor": [1.5, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": 16,
}
ROPES = [
    {"rope_type": "default"},
    {"rope_type": "default", "factor": 3.0, "attention_factor": 2.0},
    {"rope_type": "linear", "factor": 2.5},
    {"rope_type": "dynamic", "factor": 2.5},
    LLAMA3,
    {k: v for k, v in LLAMA3.items() if k != "original_max_position_embeddings"},
    *({"rope_type": "yarn", **values} for values in YARN_DICTS),
    LONGROPE,
    {**LONGROPE, "factor": 3.0},
    {**LONGROPE, "factor": 0.5},
    {**LONGROPE, "attention_factor": 0.7},
]


@pytest.mark.parametrize("rope", ROPES, ids=str)
@pytest.mark.parametrize("outer", [{}, {"rope_theta": 5e5}, {"original_max_position_embeddings": 24}], ids=str)
def test_frequencies_are_the_references(rope, outer):
    pytest.importorskip("torch", reason=NO_TORCH)
    import jax.numpy as jnp
    import numpy as np
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    from landed_jax.nn.rotary import rotary_frequencies

    reference = LlamaConfig(**LLAMA, **outer, rope_scaling=dict(rope))
    init = ROPE_INIT_FUNCTIONS.get(rope["rope_type"], LlamaRotaryEmbedding.compute_default_rope_parameters)
    inv_freq, attention_factor = init(reference)
    ours = read(**outer, rope_scaling=rope)
    frequency = rotary_frequencies(ours.rope, 8, ours.max_positions, jnp.array([5]), jnp.dtype("float32"))
    np.testing.assert_allclose(frequency[0], inv_freq.numpy(), rtol=2e-6)
    assert ours.rope.attention_factor == pytest.approx(attention_factor, rel=1e-12)


@pytest.mark.parametrize(
    ("rope", "said"),
    [
        ({"rope_type": "proportional", "factor": 2.0}, "rope_scaling.rope_type = 'proportional'"),
        ({"rope_type": "longrope", "factor": 2.0}, "rope_scaling.short_factor = None (not a list of numbers)"),
        ({**LONGROPE, "long_factor": [1.0, 2.0]}, "short_factors and long_factors are not as many"),
        ({**LONGROPE, "long_factor": [1.0], "short_factor": [2]}, "rope has 1 factors for 4 rotated pairs"),
        ({**LONGROPE, "long_factor": [1.0, 2.0, 0.0, 1.0]}, "the rotary long_factors are not numbers from 1e-09 on"),
        ({**LONGROPE, "original_max_position_embeddings": 1}, "longrope divides by the logarithm"),
        ({"type": 3}, "rope_scaling.type = 3"),
        ({"type": "linear"}, "rope_scaling.factor = None (not there, and is needed)"),
        ({"type": "linear", "factor": "2"}, "rope_scaling.factor = '2' (not a number)"),
        ({"type": "linear", "factor": -2}, "rope_scaling.factor = -2 (not above 0)"),
        ({"type": "linear", "factor": float("nan")}, "rope_scaling.factor = nan"),
        ({"type": "linear", "factor": 1e-40}, "the rotary factor is 1e-40, not a number from 1e-09 to 1e+30"),
        ({**LLAMA3, "factor": 1e-40}, "the rotary factor is 1e-40"),
        ({"type": "linear", "factor": 2.0, "rope_theta": 1e-20}, "the rotary theta is 1e-20"),
        ({"type": "yarn", "factor": 2.0, "attention_factor": 1e19}, "the rotary attention_factor is 1e+19"),
        ({"type": "yarn", "factor": 2.0, "attention_factor": -1.0}, "the rotary attention_factor is -1.0"),
        ({"type": "yarn", "factor": 2.0, "mscale": 1e38, "mscale_all_dim": 0.9}, "the rotary attention_factor is"),
        (
            {"type": "yarn", "factor": 22026.4658, "mscale": 1.0, "mscale_all_dim": -1.0},
            "mscale_all_dim = -1.0",
        ),
        ({"rope_type": None, "factor": 2.0}, "rope_scaling.rope_type = None"),
        ({"type": "dynamic", "factor": 1e308}, "rope_scaling.factor = 1e+308 (not finite in float32)"),
        ({"type": "yarn", "factor": 2.0, "attention_factor": 1e39}, "rope_scaling.attention_factor = 1e+39"),
        ({"type": "linear", "factor": 2, "partial_rotary_factor": 0.5}, "rope_scaling.partial_rotary_factor = 0.5"),
        ({"type": "default", "rope_theta": None}, "rope_scaling.rope_theta = None"),
        ({**LLAMA3, "high_freq_factor": 1.0}, "rope_scaling.high_freq_factor = 1.0"),
        ({"type": "yarn", "factor": 2.0, "truncate": 1}, "rope_scaling.truncate = 1"),
        ({"type": "yarn", "factor": 2.0, "rope_theta": 1}, "rope_theta = 1"),
        ([1], "rope_scaling = [1] (not an object)"),
    ],
    ids=str,
)
def test_ropes_that_are_refused(rope, said):
    assert said in refusal(rope_scaling=rope)


def test_partial_rotation_is_refused_where_the_reference_heeds_it():
    assert read(partial_rotary_factor=1.0) == read()
    linear = {"type": "linear", "factor": 2.0}
    assert "partial_rotary_factor = 0.5" in refusal(partial_rotary_factor=0.5, rope_scaling=linear)


def test_fields_that_cannot_change_the_logits_pass():
    harmless = {
        "initializer_range": 0.3,
        "use_cache": False,
        "bos_token_id": 3,
        "eos_token_id": [4, 5],
        "pad_token_id": None,
        "attention_dropout": 0.1,
        "torch_dtype": "bfloat16",
        "dtype": "float32",
        "transformers_version": "4.40.0",
        "pretraining_tp": 2,
        "id2label": {"0": "LABEL_0"},
        "temperature": 0.6,
        "do_sample": True,
        "_name_or_path": "somewhere",
        "unsloth_fixed": True,
        "axolotl_version": "0.9",
        "mergekit_config": {"models": []},
        "wandb_run_id": "x",
        "some_new_field": None,
        "is_causal": True,
        "is_llama_config": True,
        "is_encoder_decoder": False,
        "pruned_heads": {},
        "auto_map": None,
    }
    assert read(**harmless) == read()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"auto_map": {"AutoModel": "x.Y"}}, "never executed"),
        ({"is_causal": False}, "only causal attention"),
        ({"is_causal": None}, "only causal attention"),  # null is no "yes" to the reference
        ({"is_causal": 1}, "only causal attention"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps = inf (not finite in float32)"),
        ({"rms_norm_eps": 1e300}, "rms_norm_eps = 1e+300 (not finite in float32)"),
        ({"rms_norm_eps": 1e-60}, "rms_norm_eps = 1e-60 (not above 0 in float32)"),
        ({"rope_theta": float("inf")}, "rope_theta = inf"),
        ({"vocab_size": 10**12}, "vocab_size = 1000000000000 (not below 2**31)"),
        ({"some_new_switch": False}, "some_new_switch = False (an unknown field"),
        ({"pruned_heads": {"0": [1]}}, "an unknown field"),
        ({"rope_theta": 10**400}, "rope_theta"),
        ({"quantization_config": {"bits": 4}}, "quantised weights"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures = ['LlamaForSequenceClassification']"),
        ({"architectures": "LlamaForCausalLM"}, "architectures = 'LlamaForCausalLM'"),
        ({"logit_scale": 0}, "logit_scale = 0 (an unknown field"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"hidden_size": "32"}, "hidden_size = '32' (not a positive whole number)"),
        ({"hidden_size": True}, "hidden_size = True"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"num_attention_heads": None}, "num_attention_heads = None"),
        ({"num_key_value_heads": 2.0}, "num_key_value_heads = 2.0"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps = '1e-5' (not a number)"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps = -1.0"),
        ({"rope_theta": None}, "rope_theta = None"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings = 'no'"),
        ({"attention_bias": 1}, "attention_bias = 1"),
        ({"head_dim": 7}, "head_dim 7 is odd"),
    ],
    ids=str,
)
def test_fields_that_are_refused(changes, said):
    assert said in refusal(**changes)


def test_layer_types_that_say_the_same_pass():
    assert read(layer_types=["full_attention"] * 2) == read()
    assert read(MISTRAL, sliding_window=8, layer_types=["sliding_attention"] * 2).sliding_window == 8
    assert "layer_types" in refusal(MISTRAL, sliding_window=None, layer_types=["sliding_attention"] * 2)


@pytest.mark.quick
def test_every_refusal_is_named_at_once():
    message = refusal(
        hidden_act="mish",
        quantization_config={"bits": 4},
        logit_scale=2.0,
        vocab_size="many",
        rope_scaling={"type": "linear", "factor": -2.0, "rope_theta": "x"},
        sliding_window=5,
        num_key_value_heads=-1,
    )
    for name in (
        "hidden_act", "quantization_config", "logit_scale", "vocab_size", "rope_scaling.factor",
        "rope_scaling.rope_theta", "sliding_window", "num_key_value_heads",
    ):  # fmt: skip
        assert message.count(f"{name} =") == 1, name


@pytest.mark.parametrize("values", [None, [], "llama", 3, {}, {"model_type": "mamba"}, {"model_type": ["llama"]}])
def test_what_is_no_llama_or_mistral_config(values):
    with pytest.raises(LandedError, match=r"object of fields|model_type is"):
        config_from_hf(values)
