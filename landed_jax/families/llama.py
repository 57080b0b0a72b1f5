"""Llama, and the many models that are saved as one (SmolLM2, TinyLlama, Yi, DeepSeek-LLM)."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import FULL, all_layers_alike, optional_flag, refuse_if_set, require
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    if fields.take("sliding_window") is not None:
        fields.refuse("sliding_window", "the reference Llama has no sliding window and would ignore it")
    refuse_if_set(fields, "use_sliding_window", "the reference Llama has no sliding window and would ignore it")
    all_layers_alike(fields, n_layers, FULL)
    bias = optional_flag(fields, "attention_bias")
    return {"qkv_bias": bias, "output_bias": bias, "mlp_bias": optional_flag(fields, "mlp_bias")}


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    return {"attention_bias": config.qkv_bias, "mlp_bias": config.mlp_bias}


FAMILY = Family(
    name="llama",
    architecture="LlamaForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"qkv_bias", "output_bias", "mlp_bias"}),
    defaults={},
    ignorable=frozenset({"layer_types", "sliding_window", "use_sliding_window"}),
    examples=("meta-llama/Llama-3.2-1B", "HuggingFaceTB/SmolLM2-135M", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
)
