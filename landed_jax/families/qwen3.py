"""Qwen 3, dense: Llama with an RMSNorm on each head's query and key, and a head size of its own."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import (
    optional_flag,
    refuse_if_set,
    require,
    window_fields,
    windows_from_a_layer_on,
)
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    refuse_if_set(fields, "mlp_bias", "the reference Qwen 3 has no biases in the MLP and would ignore them")
    bias = optional_flag(fields, "attention_bias")
    return {"qk_norm": "head", "qkv_bias": bias, "output_bias": bias, **windows_from_a_layer_on(fields, n_layers)}


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.qk_norm == "head", "has a norm of each head's query and key")
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    return {"attention_bias": config.qkv_bias, **window_fields(config)}


FAMILY = Family(
    name="qwen3",
    architecture="Qwen3ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"qk_norm", "qkv_bias", "output_bias", "sliding_window", "windowed_layers"}),
    defaults={
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
    },
    ignorable=frozenset({"mlp_bias"}),
    examples=("Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B"),
)
