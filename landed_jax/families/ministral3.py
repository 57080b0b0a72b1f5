"""Ministral 3: Mistral whose queries grow with their position."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import FULL, SLIDING, all_layers_alike, refuse_if_set
from landed_jax.nn.config import ModelConfig

_NO_BIAS = "the reference Ministral 3 has no biases and would ignore them"


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    window = None if fields.take("sliding_window") is None else fields.whole("sliding_window", 1)
    all_layers_alike(fields, n_layers, FULL if window is None else SLIDING)
    for name in ("attention_bias", "mlp_bias"):
        refuse_if_set(fields, name, _NO_BIAS)
    return {"sliding_window": window}


def _fields(config: ModelConfig) -> dict[str, Any]:
    return {"sliding_window": config.sliding_window, "pad_token_id": None}  # its default is beyond a small vocabulary


FAMILY = Family(
    name="ministral3",
    architecture="Ministral3ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"sliding_window", "query_growth"}),
    defaults={
        "vocab_size": 131072,
        "intermediate_size": 14336,
        "num_hidden_layers": 34,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1_000_000.0,
            "factor": 16.0,
            "original_max_position_embeddings": 16384,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "llama_4_scaling_beta": 0.1,
        },
    },
    ignorable=frozenset({"layer_types", "attention_bias", "mlp_bias"}),
    examples=("mistralai/Ministral-3-8B-Base-2512",),
)
