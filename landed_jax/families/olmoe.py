"""OLMoE: small experts, many of which work on each token; norms of queries and keys over all heads."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import EXPERT_SWITCHES, experts_in, optional_flag, refuse_if_set, require
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    refuse_if_set(fields, "mlp_bias", "the reference OLMoE has no biases in the experts and would ignore them")
    refuse_if_set(fields, "clip_qkv", "queries, keys and values that are cut off are not read")
    refuse_if_set(fields, "sliding_window", "only full attention is read")
    bias = optional_flag(fields, "attention_bias")
    return {
        "qk_norm": "width",
        "qkv_bias": bias,
        "output_bias": bias,
        **experts_in(fields, 64, 8),
        "router_normalised": fields.flag("norm_topk_prob", False),
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.n_experts > 0, "has experts")
    require(config, config.qk_norm == "width", "has norms of queries and keys over all heads")
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    require(config, config.n_heads * config.head_dim == config.d_model, "has heads that share d_model")
    return {
        "num_experts": config.n_experts,
        "num_experts_per_tok": config.experts_per_token,
        "norm_topk_prob": config.router_normalised,
        "attention_bias": config.qkv_bias,
        "pad_token_id": None,  # the class's default may be beyond a small vocabulary
    }


_LAYER = "model.layers.{layer}.self_attn."

FAMILY = Family(
    name="olmoe",
    architecture="OlmoeForCausalLM",
    switches=_switches,
    fields=_fields,
    held=EXPERT_SWITCHES | {"qk_norm", "qkv_bias", "output_bias", "router_normalised"},
    defaults={
        "vocab_size": 50304,
        "hidden_size": 2048,
        "intermediate_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    names={"attn/q_width_gamma": _LAYER + "q_norm.weight", "attn/k_width_gamma": _LAYER + "k_norm.weight"},
    ignorable=frozenset({"mlp_bias", "clip_qkv", "sliding_window"}),
    examples=("allenai/OLMoE-1B-7B-0924", "allenai/OLMoE-1B-7B-0125-Instruct"),
)
