"""Small checkpoints that tests write: parameters from a seed, in Hugging Face layout, whole or in shards."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from landed_jax.checkpoints.hf.reader import read_params
from landed_jax.checkpoints.hf.survey import survey_checkpoint
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from tests.models import random_params

CONFIG = ModelConfig(
    vocab_size=24, d_model=16, n_layers=3, n_heads=4, n_kv_heads=2, head_dim=6, d_ff=20, max_positions=64
)


def hf_config(config: ModelConfig) -> dict:
    return {
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        "tie_word_embeddings": config.tie_embeddings,
    }


def make_tensors(config: ModelConfig = CONFIG, dtype: str = "float32") -> tuple[Params, dict[str, np.ndarray]]:
    params = random_params(config, dtype=jnp.dtype(dtype))
    return params, dict(to_hf(params, config))


def write_checkpoint(folder: Path, tensors: dict[str, np.ndarray], config: ModelConfig = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(hf_config(config)))
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_shards(
    folder: Path, tensors: dict[str, np.ndarray], config: ModelConfig = CONFIG, shards: int = 3
) -> dict[str, str]:
    """Returns the index's weight_map."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(hf_config(config)))
    names = sorted(tensors)
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        save_file({name: tensors[name] for name in names[i::shards]}, folder / file)
        weight_map |= dict.fromkeys(names[i::shards], file)
    write_index(folder, weight_map)
    return weight_map


def write_index(folder: Path, weight_map: dict) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def read_folder(folder: Path, config: ModelConfig = CONFIG, **how: Any) -> Params:
    """The parameters of a folder whose architecture is known."""
    return read_params(survey_checkpoint(folder, config), **how)


def assert_same(left: Params, right: Params) -> None:
    """Equal bit for bit, types included."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
