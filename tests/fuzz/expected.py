"""What the files of an accepted folder say, read plainly: no gate, no table, none of the package's readers."""

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from landed_jax.nn.config import ModelConfig, RopeConfig

_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}


def config_of(folder: Path) -> ModelConfig:
    """The architecture that config.json describes, with `transformers`' defaults for absent fields."""
    values = json.loads((folder / "config.json").read_bytes())
    mistral = values["model_type"] == "mistral"
    heads, width = values.get("num_attention_heads", 32), values.get("hidden_size", 4096)
    longest = values.get("max_position_embeddings", 131072 if mistral else 2048)
    kv_heads = values.get("num_key_value_heads", 8 if mistral else None)
    act = values.get("hidden_act", "silu")
    return ModelConfig(
        vocab_size=values.get("vocab_size", 32000),
        d_model=width,
        n_layers=values.get("num_hidden_layers", 32),
        n_heads=heads,
        n_kv_heads=heads if kv_heads is None else kv_heads,
        head_dim=values["head_dim"] if values.get("head_dim") is not None else width // heads,
        d_ff=values.get("intermediate_size", 14336 if mistral else 11008),
        family=values["model_type"],
        activation=_ACTIVATIONS.get(act, act),
        norm_eps=values.get("rms_norm_eps", 1e-6),
        max_positions=longest,
        rope=_rope(values, longest),
        sliding_window=values.get("sliding_window", 4096) if mistral else None,
        qkv_bias=values.get("attention_bias") or False,
        output_bias=values.get("attention_bias") or False,
        mlp_bias=values.get("mlp_bias") or False,
        tie_embeddings=values.get("tie_word_embeddings", False),
    )


def _rope(values: dict[str, Any], longest: int) -> RopeConfig:
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta", values.get("rope_theta", 10000.0))
    outer = values.get("original_max_position_embeddings")
    original = rope.get("original_max_position_embeddings", longest) if outer is None else outer
    if kind == "default":
        return RopeConfig(theta=theta)
    if kind in ("linear", "dynamic"):
        return RopeConfig(kind, theta, rope["factor"])
    if kind == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        return RopeConfig(kind, theta, rope["factor"], original, low_freq_factor=low, high_freq_factor=high)
    factor = longest / original if rope.get("factor") is None else rope["factor"]
    turns = {name: rope.get(name) or default for name, default in (("beta_fast", 32.0), ("beta_slow", 1.0))}
    scale = {name: rope.get(name) or 0 for name in ("mscale", "mscale_all_dim")}
    grown = {name: value * (0.1 * math.log(factor) if factor > 1 else 0) + 1 for name, value in scale.items()}
    amount = rope.get("attention_factor")
    if amount is None:
        plain = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
        amount = grown["mscale"] / grown["mscale_all_dim"] if all(scale.values()) else plain
    truncate = bool(rope.get("truncate", True))
    return RopeConfig("yarn", theta, factor, original, truncate=truncate, attention_factor=amount, **turns)


def tensors_of(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of the safetensors files that are read: `model.safetensors`, or else all shards."""
    single = folder / "model.safetensors"
    files = [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    found: dict[str, np.ndarray] = {}
    for file in files:
        data = file.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                values = np.frombuffer(data[start + begin : start + end], _TYPES[entry["dtype"]])
                found[name] = values.reshape(entry["shape"])
    return found
