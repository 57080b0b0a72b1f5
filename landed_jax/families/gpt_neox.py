"""GPT-NeoX and Pythia: LayerNorm, parallel blocks, heads that rotate in part, an MLP without a gate."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import require
from landed_jax.nn.config import ModelConfig

_LAYER = "gpt_neox.layers.{layer}."
_PARTS = {"weight": ("W", "gamma"), "bias": ("b", "beta")}


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    bias = fields.flag("attention_bias", True)
    return {
        "norm": "layer",
        "parallel_blocks": fields.flag("use_parallel_residual", True),
        "gated_mlp": False,
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": True,
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.norm == "layer", "has LayerNorms")
    require(config, not config.gated_mlp, "has no gate in the MLP")
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    require(config, config.mlp_bias, "has biases in the MLP")
    require(config, config.n_kv_heads == config.n_heads, "has as many key heads as heads")
    require(config, config.n_heads * config.head_dim == config.d_model, "has heads that share d_model")
    return {"use_parallel_residual": config.parallel_blocks, "attention_bias": config.qkv_bias}


def _names() -> dict[str, str]:
    names = {"embed/W_E": "gpt_neox.embed_in.weight", "unembed/W_U": "embed_out.weight"}
    for end, (letter, gain) in _PARTS.items():
        names[f"final_norm/{gain}"] = f"gpt_neox.final_layer_norm.{end}"
        names |= dict.fromkeys((f"attn/{letter}_{n}" for n in "QKV"), f"{_LAYER}attention.query_key_value.{end}")
        names[f"attn/{letter}_O"] = f"{_LAYER}attention.dense.{end}"
        names[f"mlp/{letter}_in"] = f"{_LAYER}mlp.dense_h_to_4h.{end}"
        names[f"mlp/{letter}_down"] = f"{_LAYER}mlp.dense_4h_to_h.{end}"
        names[f"attn_norm/{gain}"] = f"{_LAYER}input_layernorm.{end}"
        names[f"mlp_norm/{gain}"] = f"{_LAYER}post_attention_layernorm.{end}"
    return names


FAMILY = Family(
    name="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"norm", "parallel_blocks", "gated_mlp", "rotary_dim", "qkv_bias", "output_bias", "mlp_bias"}),
    defaults={
        "vocab_size": 50432,
        "hidden_size": 6144,
        "intermediate_size": 24576,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "hidden_act": "gelu",
        "rms_norm_eps": 1e-5,
        "partial_rotary_factor": 0.25,
    },
    names=_names(),
    by_head=frozenset({f"attn/{letter}_{n}" for letter in "Wb" for n in "QKV"}),
    aliases={"lm_head.weight": "embed_out.weight"},
    base="gpt_neox.",
    constants=("attention.bias", "attention.masked_bias"),
    spelling={
        "num_key_value_heads": None,
        "head_dim": None,
        "rms_norm_eps": "layer_norm_eps",
        "rope_theta": "rotary_emb_base",
        "partial_rotary_factor": "rotary_pct",
    },
    examples=("EleutherAI/pythia-70m", "EleutherAI/pythia-1.4b-deduped", "EleutherAI/gpt-neox-20b"),
)
