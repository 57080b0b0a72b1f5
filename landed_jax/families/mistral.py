"""Mistral 7B: Llama without biases, and with a sliding window in every layer or in none."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import FULL, SLIDING, all_layers_alike, refuse_if_set
from landed_jax.nn.config import ModelConfig

_NO_BIAS = "the reference Mistral has no biases and would ignore them"


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    window = None if fields.take("sliding_window", 4096) is None else fields.whole("sliding_window", 4096)
    all_layers_alike(fields, n_layers, FULL if window is None else SLIDING)
    for name in ("attention_bias", "mlp_bias"):
        refuse_if_set(fields, name, _NO_BIAS)
    return {"sliding_window": window}


def _fields(config: ModelConfig) -> dict[str, Any]:
    return {"sliding_window": config.sliding_window}


FAMILY = Family(
    name="mistral",
    architecture="MistralForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"sliding_window"}),
    defaults={"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072},
    ignorable=frozenset({"layer_types", "attention_bias", "mlp_bias"}),
    examples=("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.3"),
)
