"""Qwen 3 with experts: Qwen 3 whose layers have many small MLPs, of which some work on each token."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import EXPERT_SWITCHES, experts_in, optional_flag, refuse_if_set, require
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    refuse_if_set(fields, "mlp_bias", "the reference Qwen 3 has no biases in the experts and would ignore them")
    if fields.take("decoder_sparse_step", 1) != 1 or fields.take("mlp_only_layers"):
        name = "mlp_only_layers" if fields.take("mlp_only_layers") else "decoder_sparse_step"
        fields.refuse(name, "a model is read only where all of its layers have experts")
    fields.take("max_window_layers")  # read by no class of this family
    bias, window = optional_flag(fields, "attention_bias"), None
    if optional_flag(fields, "use_sliding_window") and fields.take("sliding_window", 4096) is not None:
        window = fields.whole("sliding_window", 4096)
    fields.take("sliding_window")
    return {
        "qk_norm": "head",
        "qkv_bias": bias,
        "output_bias": bias,
        "sliding_window": window,
        "d_ff": fields.whole("moe_intermediate_size", 768),
        **experts_in(fields, 128, 8),
        "router_normalised": fields.flag("norm_topk_prob", False),
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.n_experts > 0, "has experts")
    require(config, config.qk_norm == "head", "has a norm of each head's query and key")
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    return {
        "moe_intermediate_size": config.d_ff,  # and intermediate_size is of layers without experts
        "num_experts": config.n_experts,
        "num_experts_per_tok": config.experts_per_token,
        "norm_topk_prob": config.router_normalised,
        "attention_bias": config.qkv_bias,
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
    }


FAMILY = Family(
    name="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    switches=_switches,
    fields=_fields,
    held=EXPERT_SWITCHES | {"d_ff", "qk_norm", "qkv_bias", "output_bias", "sliding_window", "router_normalised"},
    defaults={
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 24,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
    },
    ignorable=frozenset({"mlp_bias"}),
    examples=("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B"),
)
