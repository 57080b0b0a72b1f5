"""SmolLM3: Llama in which every fourth layer does not rotate queries and keys (NoPE)."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.reading import optional_flag, require, window_fields, windows_by_layer
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    rotary = _rotary_layers(fields, n_layers)
    fields.take("max_window_layers")  # saved by some, and read by none
    bias = optional_flag(fields, "attention_bias")
    return {
        "rotary_layers": rotary,
        **windows_by_layer(fields, n_layers, lambda layer: not rotary[layer], default=None),
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": optional_flag(fields, "mlp_bias"),
    }


def _rotary_layers(fields: Fields, n_layers: int) -> tuple[bool, ...]:
    interval = 4 if fields.take("no_rope_layer_interval") is None else fields.whole("no_rope_layer_interval", 4)
    given = fields.take("no_rope_layers")
    if given is None:
        return tuple((layer + 1) % interval != 0 for layer in range(n_layers))
    if not isinstance(given, list) or len(given) < n_layers or not all(value in (0, 1) for value in given):
        fields.refuse("no_rope_layers", f"not a list of 1 (rotary) or 0 for each of the {n_layers} layers")
        return (True,) * n_layers
    return tuple(value == 1 for value in given[:n_layers])


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.qkv_bias == config.output_bias, "has all biases of attention or none")
    return {
        "pad_token_id": None,  # the class's default is beyond a small vocabulary
        "no_rope_layers": [int(kind.rope is not None) for kind in config.kinds],
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        **window_fields(config),
    }


FAMILY = Family(
    name="smollm3",
    architecture="SmolLM3ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=frozenset({"rotary_layers", "sliding_window", "windowed_layers", "qkv_bias", "output_bias", "mlp_bias"}),
    defaults={
        "vocab_size": 128256,
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "rope_theta": 2_000_000.0,
    },
    examples=("HuggingFaceTB/SmolLM3-3B",),
)
