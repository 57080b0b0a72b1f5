"""Qwen 2 and 2.5: Llama with biases on queries, keys and values always, and on no other product."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import refuse_if_set, require, window_fields, windows_from_a_layer_on
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    refuse_if_set(fields, "mlp_bias", "the reference Qwen 2 has no biases in the MLP and would ignore them")
    if fields.take("attention_bias") not in (None, True):
        fields.refuse("attention_bias", "the reference Qwen 2 has biases on queries, keys and values always")
    return {"qkv_bias": True, **windows_from_a_layer_on(fields, n_layers)}


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.qkv_bias, "has biases on queries, keys and values")
    return window_fields(config)


FAMILY = Family(
    name="qwen2",
    architecture="Qwen2ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"qkv_bias", "sliding_window", "windowed_layers"}),
    defaults={
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
    },
    ignorable=frozenset({"mlp_bias", "attention_bias"}),
    examples=("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-7B-Instruct", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"),
)
