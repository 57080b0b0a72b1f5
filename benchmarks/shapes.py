"""The measured models by name: shapes of Llama models with untied embeddings, in float32."""

import dataclasses

import numpy as np

from landed_jax import ModelConfig

SIZES = {
    "5M": ModelConfig(vocab_size=4096, d_model=256, n_layers=4, n_heads=8, n_kv_heads=4, head_dim=32, d_ff=688),
    "125M": ModelConfig(vocab_size=32000, d_model=768, n_layers=12, n_heads=12, n_kv_heads=12, head_dim=64, d_ff=2048),
    # TinyLlama's
    "1.1B": ModelConfig(vocab_size=32000, d_model=2048, n_layers=22, n_heads=32, n_kv_heads=4, head_dim=64, d_ff=5632),
}


def shape(name: str) -> ModelConfig:
    """The model of a size; ``125M/4`` is the same with 4 layers."""
    size, _, layers = name.partition("/")
    return dataclasses.replace(SIZES[size], n_layers=int(layers)) if layers else SIZES[size]


def prompt(config: ModelConfig, length: int) -> np.ndarray:
    """Random ids ``[1, length]``, the same in every call."""
    return np.random.default_rng(length).integers(0, config.vocab_size, (1, length), dtype=np.int32)
