"""Granite 3: Llama with factors of the embedding, the scores, all writes and the logits."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import FULL, all_layers_alike, optional_flag, require
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    all_layers_alike(fields, n_layers, FULL)
    bias = optional_flag(fields, "attention_bias")
    return {
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": optional_flag(fields, "mlp_bias"),
        "embedding_scale": fields.positive("embedding_multiplier", 1.0),
        "attention_scale": fields.positive("attention_multiplier", 1.0),
        "residual_scale": fields.positive("residual_multiplier", 1.0),
        "logit_scale": 1 / fields.positive("logits_scaling", 1.0),
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    scale = config.head_dim**-0.5 if config.attention_scale is None else config.attention_scale
    return {
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        "embedding_multiplier": config.embedding_scale,
        "attention_multiplier": scale,
        "residual_multiplier": config.residual_scale,
        "logits_scaling": 1 / config.logit_scale,
    }


FAMILY = Family(
    name="granite",
    architecture="GraniteForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset(
        {"qkv_bias", "output_bias", "mlp_bias", "embedding_scale", "attention_scale", "residual_scale", "logit_scale"}
    ),
    defaults={},
    ignorable=frozenset({"layer_types"}),
    examples=("ibm-granite/granite-3.1-2b-instruct", "ibm-granite/granite-3.3-8b-instruct"),
)
