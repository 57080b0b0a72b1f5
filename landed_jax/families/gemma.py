"""Gemma 1: a norm's γ is 1 + weight, and the embedding is scaled by √d_model."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import FULL, all_layers_alike, optional_flag, refuse_if_set, require
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    refuse_if_set(fields, "use_bidirectional_attention", "only causal attention is read")
    refuse_if_set(fields, "mlp_bias", "the reference Gemma has no biases in the MLP and would ignore them")
    all_layers_alike(fields, n_layers, FULL)
    fields.take("hidden_activation")  # saved by the first releases; the reference does not read it
    bias = optional_flag(fields, "attention_bias")
    return {
        "gain_offset": 1.0,
        "rounded_embedding_scale": True,
        "embedding_scale": fields.whole("hidden_size", 3072) ** 0.5,
        "qkv_bias": bias,
        "output_bias": bias,
        # Early folders say gelu and mean its tanh form; the reference reads them so.
        **({"activation": "gelu_tanh"} if fields.take("hidden_act") == "gelu" else {}),
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    require(config, config.gain_offset == 1, "adds 1 to the weights of its norms")
    require(config, config.embedding_scale == config.d_model**0.5, "scales the embedding by √d_model")
    require(config, config.rounded_embedding_scale, "rounds the embedding's scale to its weights' type")
    require(config, config.activation != "gelu", "has no exact GELU")
    return {"attention_bias": config.qkv_bias}


FAMILY = Family(
    name="gemma",
    architecture="GemmaForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"gain_offset", "embedding_scale", "rounded_embedding_scale", "qkv_bias", "output_bias"}),
    defaults={
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    ignorable=frozenset({"mlp_bias", "layer_types"}),
    examples=("google/gemma-2b", "google/gemma-7b-it"),
)
