"""Gemma 2: norms before and behind each block, soft-capped scores and logits, a window in every second layer."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import (
    FULL,
    SLIDING,
    activation_in,
    activation_name,
    layer_kinds,
    optional_flag,
    optional_positive,
    refuse_if_set,
    require,
)
from landed_jax.nn.config import ModelConfig

NAMES = {
    "attn_out_norm/gamma": "model.layers.{layer}.post_attention_layernorm.weight",
    "mlp_norm/gamma": "model.layers.{layer}.pre_feedforward_layernorm.weight",
    "mlp_out_norm/gamma": "model.layers.{layer}.post_feedforward_layernorm.weight",
}

HELD = frozenset(
    {"gain_offset", "embedding_scale", "rounded_embedding_scale", "qkv_bias", "output_bias", "sliding_window"}
    | {"windowed_layers", "output_norms", "attention_scale", "logit_cap"}
)


def gemma_switches(fields: Fields, kinds: list[str]) -> dict[str, Any]:
    """What Gemma 2 and 3 have in common; `kinds` are the layers' where ``layer_types`` does not say them."""
    refuse_if_set(fields, "use_bidirectional_attention", "only causal attention is read")
    window = None if fields.take("sliding_window", 4096) is None else fields.whole("sliding_window", 4096)
    kinds = layer_kinds(fields, kinds)
    if window is None and SLIDING in kinds:
        fields.refuse("sliding_window", f"layer_types has layers of {SLIDING}")
    bias = optional_flag(fields, "attention_bias")
    return {
        "activation": activation_in(fields, "hidden_activation", "gelu_pytorch_tanh"),
        "gain_offset": 1.0,
        "rounded_embedding_scale": True,
        "embedding_scale": fields.whole("hidden_size", 2304) ** 0.5,
        "qkv_bias": bias,
        "output_bias": bias,
        "sliding_window": window,
        "windowed_layers": tuple(kind == SLIDING for kind in kinds) if window else (),
        "output_norms": True,
        "attention_scale": fields.positive("query_pre_attn_scalar", 256) ** -0.5,
    }


def gemma_fields(config: ModelConfig) -> dict[str, Any]:
    """The inverse."""
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    require(config, config.gain_offset == 1, "adds 1 to the weights of its norms")
    require(config, config.embedding_scale == config.d_model**0.5, "scales the embedding by √d_model")
    require(config, config.rounded_embedding_scale, "rounds the embedding's scale to its weights' type")
    require(config, config.output_norms and config.input_norms, "has norms before and behind its blocks")
    scale = config.head_dim**-0.5 if config.attention_scale is None else config.attention_scale
    return {
        "hidden_activation": activation_name(config),
        "attention_bias": config.qkv_bias,
        "sliding_window": config.sliding_window,
        "layer_types": [FULL if window is None else SLIDING for window in config.windows],
        "query_pre_attn_scalar": scale**-2,
        "final_logit_softcapping": config.logit_cap,
    }


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    return {
        **gemma_switches(fields, [FULL if layer % 2 else SLIDING for layer in range(n_layers)]),
        "attention_cap": optional_positive(fields, "attn_logit_softcapping", 50.0),
        "logit_cap": optional_positive(fields, "final_logit_softcapping", 30.0),
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    return {**gemma_fields(config), "attn_logit_softcapping": config.attention_cap}


FAMILY = Family(
    name="gemma2",
    architecture="Gemma2ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=HELD | {"attention_cap"},
    defaults={
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    names=NAMES,
    examples=("google/gemma-2-2b", "google/gemma-2-9b-it"),
)
