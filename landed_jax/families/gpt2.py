"""GPT-2: LayerNorm, learned positions, an MLP without a gate; every linear weight has its inputs first."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import refuse_if_set, require
from landed_jax.nn.config import ModelConfig

_LAYER = "transformer.h.{layer}."
_PARTS = {"weight": ("W", "gamma"), "bias": ("b", "beta")}


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    refuse_if_set(
        fields, "scale_attn_by_inverse_layer_idx", "scores that are divided by the layer's number are not read"
    )
    fields.take("reorder_and_upcast_attn")  # in which order and type the scores are computed
    for name in ("n_ctx", "n_special", "predict_special_tokens", "output_past"):
        fields.take(name)  # saved by the first releases, and read by none
    return {
        "norm": "layer",
        "gated_mlp": False,
        "learned_positions": True,
        "rotary_layers": (False,) * n_layers,
        "attention_scale": None if fields.flag("scale_attn_weights", True) else 1.0,
        "qkv_bias": True,
        "output_bias": True,
        "mlp_bias": True,
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.norm == "layer", "has LayerNorms")
    require(config, not config.gated_mlp, "has no gate in the MLP")
    require(config, config.learned_positions, "learned its positions")
    require(config, all(kind.rope is None for kind in config.kinds), "has no rotary embedding")
    require(config, config.qkv_bias and config.output_bias and config.mlp_bias, "has all biases")
    require(config, config.n_kv_heads == config.n_heads, "has as many key heads as heads")
    require(config, config.n_heads * config.head_dim == config.d_model, "has heads that share d_model")
    require(config, config.attention_scale in (None, 1), "has scores as they are, or divided by √head_dim")
    return {"scale_attn_weights": config.attention_scale is None}


def _names() -> dict[str, str]:
    names = {"embed/W_E": "transformer.wte.weight", "embed/W_pos": "transformer.wpe.weight"}
    for end, (letter, gain) in _PARTS.items():
        names[f"final_norm/{gain}"] = f"transformer.ln_f.{end}"
        names[f"attn_norm/{gain}"] = f"{_LAYER}ln_1.{end}"
        names |= dict.fromkeys((f"attn/{letter}_{n}" for n in "QKV"), f"{_LAYER}attn.c_attn.{end}")
        names[f"attn/{letter}_O"] = f"{_LAYER}attn.c_proj.{end}"
        names[f"mlp_norm/{gain}"] = f"{_LAYER}ln_2.{end}"
        names[f"mlp/{letter}_in"] = f"{_LAYER}mlp.c_fc.{end}"
        names[f"mlp/{letter}_down"] = f"{_LAYER}mlp.c_proj.{end}"
    return names


FAMILY = Family(
    name="gpt2",
    architecture="GPT2LMHeadModel",
    switches=_switches,
    fields=_fields,
    held=frozenset(
        {
            "norm",
            "gated_mlp",
            "learned_positions",
            "rotary_layers",
            "attention_scale",
            "qkv_bias",
            "output_bias",
            "mlp_bias",
        }
    ),
    defaults={
        "vocab_size": 50257,
        "hidden_size": 768,
        "intermediate_size": None,  # four times hidden_size
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "gelu_new",
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    },
    names=_names(),
    transposed=frozenset({"attn/W_Q", "attn/W_K", "attn/W_V", "attn/W_O", "mlp/W_in", "mlp/W_down"}),
    base="transformer.",
    constants=("attn.bias", "attn.masked_bias"),
    spelling={
        "hidden_size": "n_embd",
        "intermediate_size": "n_inner",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "num_key_value_heads": None,
        "head_dim": None,
        "hidden_act": "activation_function",
        "max_position_embeddings": "n_positions",
        "rms_norm_eps": "layer_norm_epsilon",
        **dict.fromkeys(("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor")),
    },
    ignorable=frozenset({"scale_attn_by_inverse_layer_idx"}),
    examples=("openai-community/gpt2", "distilbert/distilgpt2"),
)
