"""Families whose fields of config.json have other names than Llama's: their own are read, and Llama's are unknown."""

import pytest

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.writer import config_to_hf
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError

GPT2 = {"model_type": "gpt2", "n_embd": 24, "n_head": 3, "n_layer": 2, "n_inner": 50, "n_positions": 9}
NEOX = {"model_type": "gpt_neox", "hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2}


def test_their_own_names_are_read() -> None:
    config = config_from_hf({**GPT2, "layer_norm_epsilon": 0.1, "activation_function": "relu", "vocab_size": 7})
    assert (config.d_model, config.n_heads, config.n_kv_heads, config.head_dim) == (24, 3, 3, 8)
    assert (config.n_layers, config.d_ff, config.max_positions) == (2, 50, 9)
    assert (config.norm_eps, config.activation, config.vocab_size) == (0.1, "relu", 7)
    assert config_from_hf({**GPT2, "n_inner": None}).d_ff == 96
    config = config_from_hf({**NEOX, "layer_norm_eps": 0.1, "rotary_emb_base": 50, "rotary_pct": 0.5})
    assert (config.norm_eps, config.rope.theta, config.rotary_dim) == (0.1, 50.0, 4)
    assert config_from_hf(NEOX).rotary_dim == 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**GPT2, "hidden_size": 48}, r"hidden_size = 48 \(an unknown field"),
        (
            {**NEOX, "rotary_pct": 0.5, "partial_rotary_factor": 0.25},
            r"partial_rotary_factor = 0.25 \(an unknown field",
        ),
        ({**GPT2, "rope_theta": 1e4}, r"rope_theta = 10000.0 \(an unknown field"),
        ({**GPT2, "num_key_value_heads": 1}, r"num_key_value_heads = 1 \(an unknown field"),
        ({**GPT2, "n_embd": 25}, r"n_embd = 25 \(not a multiple of n_head 3\)"),
        ({**GPT2, "n_embd": "wide"}, r"n_embd = 'wide' \(not a positive whole number\)"),
        ({**GPT2, "activation_function": "mish"}, r"activation_function = 'mish' \(not one of"),
        ({**GPT2, "layer_norm_epsilon": 0}, r"layer_norm_epsilon = 0 \(not above 0\)"),
        ({**GPT2, "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
        ({**GPT2, "architectures": ["GPT2DoubleHeadsModel"]}, "GPT2LMHeadModel"),
        ({**NEOX, "head_dim": 8}, r"head_dim = 8 \(an unknown field"),
        ({**NEOX, "rope_theta": 50}, r"rope_theta = 50 \(an unknown field"),
        ({**NEOX, "rotary_pct": 2}, r"rotary_pct = 2 \(not a part of the 8 coordinates"),
        ({**NEOX, "use_parallel_residual": 1}, r"use_parallel_residual = 1 \(not true or false\)"),
    ],
)
def test_what_is_wrong_is_named_as_it_stands_there(values: dict, said: str) -> None:
    with pytest.raises(LandedError, match=said):
        config_from_hf(values)


def test_fields_are_ignored_under_their_own_names() -> None:
    notes = Notes()
    odd = {**GPT2, "scale_attn_by_inverse_layer_idx": True, "hidden_size": 5}
    assert config_from_hf(odd, ["scale_attn_by_inverse_layer_idx", "hidden_size"], notes) == config_from_hf(GPT2)
    assert "config.json: hidden_size = 5 was ignored on request" in notes.texts
    with pytest.raises(LandedError, match="n_embd is to be ignored, but the model's numbers depend on it"):
        config_from_hf(GPT2, ["n_embd"])


@pytest.mark.parametrize("values", [GPT2, {**NEOX, "use_parallel_residual": False, "attention_bias": False}])
def test_they_are_written_so_too(values: dict) -> None:
    fields = config_to_hf(config_from_hf(values))
    assert values.items() <= fields.items() and config_from_hf(fields) == config_from_hf(values)


def test_fields_say_which_were_read() -> None:
    fields = Fields({"n_embd": 8, "hidden_size": 9, "other": 1}, [], spelling={"hidden_size": "n_embd", "heads": None})
    assert fields.whole("hidden_size", 1) == 8 and fields.read == {"n_embd"}
    assert fields.unread() == ["other", "hidden_size"]


def test_a_field_under_both_names_is_read_where_both_say_the_same() -> None:
    both = {"rotary_pct": 0.5, "partial_rotary_factor": 0.5, "rotary_emb_base": 500, "rope_theta": 500}
    once = {name: both[name] for name in ("rotary_pct", "rotary_emb_base")}
    assert config_from_hf({**NEOX, **both}) == config_from_hf({**NEOX, **once})
