"""OLMo 2: blocks read the stream itself; norms stand behind them, and over all queries and keys."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import FULL, all_layers_alike, optional_flag, refuse_if_set, require
from landed_jax.nn.config import ModelConfig

NAMES = {
    "attn_out_norm/gamma": "model.layers.{layer}.post_attention_layernorm.weight",
    "mlp_out_norm/gamma": "model.layers.{layer}.post_feedforward_layernorm.weight",
    "attn/q_width_gamma": "model.layers.{layer}.self_attn.q_norm.weight",
    "attn/k_width_gamma": "model.layers.{layer}.self_attn.k_norm.weight",
}
DEFAULTS = {"vocab_size": 50304, "rms_norm_eps": 1e-5}


def olmo_switches(fields: Fields) -> dict[str, Any]:
    """What OLMo 2 and 3 have in common."""
    refuse_if_set(fields, "mlp_bias", "the reference OLMo has no biases in the MLP and would ignore them")
    refuse_if_set(fields, "clip_qkv", "the reference OLMo does not clip queries, keys and values")
    bias = optional_flag(fields, "attention_bias")
    return {"input_norms": False, "output_norms": True, "qk_norm": "width", "qkv_bias": bias, "output_bias": bias}


def olmo_fields(config: ModelConfig) -> dict[str, Any]:
    """The inverse."""
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    require(config, config.output_norms and not config.input_norms, "has norms behind its blocks and none before them")
    require(config, config.qk_norm == "width", "has norms over all queries and keys")
    return {"attention_bias": config.qkv_bias, "pad_token_id": None}  # the class's own is beyond a small vocabulary


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    all_layers_alike(fields, n_layers, FULL)
    return olmo_switches(fields)


FAMILY = Family(
    name="olmo2",
    architecture="Olmo2ForCausalLM",
    switches=_switches,
    fields=olmo_fields,
    held=frozenset({"input_norms", "output_norms", "qk_norm", "qkv_bias", "output_bias"}),
    defaults=DEFAULTS,
    ignorable=frozenset({"mlp_bias", "layer_types", "clip_qkv"}),
    names=NAMES,
    examples=("allenai/OLMo-2-1124-7B", "allenai/OLMo-2-0425-1B"),
)
