"""A checkpoint with random weights in Hugging Face layout, of the size of a real model: `python -m
benchmarks.random_checkpoint FOLDER`.

It is for measurements of reading and of memory, for which the values do not matter. Its tokenizer is another
model's, so that text can be given.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.files import INDEX
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.table import Place, tensor_places
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.files.atomic_folder import fill_folder

_LLAMA_3 = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "max_position_embeddings": 131072,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
SHAPES: dict[str, dict[str, Any]] = {
    "Llama-3.1-8B": _LLAMA_3 | _8B,
    "small": _LLAMA_3
    | {"hidden_size": 256, "intermediate_size": 896, "num_hidden_layers": 8, "num_attention_heads": 8}
    | {"num_key_value_heads": 2, "head_dim": 32},
}
"""config.json by name; `small` is for trying the script."""

_SHARD = 1 << 30  # bytes, from which on a new shard begins: so much is in memory at a time


def write_checkpoint(folder: Path, values: dict[str, Any], tokenizer: Path | None = None, seed: int = 0) -> None:
    """Write a random checkpoint of the architecture that a config.json's values describe, in bfloat16."""
    config, dtype = config_from_hf(values), FLOATS["BF16"]
    places = {place.name: place for place in tensor_places(config)}
    rng = np.random.default_rng(seed)
    with fill_folder(folder) as new:
        (new / "config.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
        for file in [] if tokenizer is None else [tokenizer / name for name in TOKENIZER_FILES]:
            if file.exists():
                shutil.copyfile(file, new / file.name)
        shards: list[dict[str, np.ndarray]] = [{}]
        weight_map: dict[str, str] = {}
        size = total = 0

        def close() -> None:
            name = f"model-{len(shards):05d}.safetensors"
            save_file(shards[-1], new / name, metadata={"format": "pt"})
            weight_map.update(dict.fromkeys(shards[-1], name))
            shards[-1] = {}

        for name, place in places.items():
            tensor = _drawn(place, place.entry.shape(config), config.d_model**-0.5, rng, dtype)
            if size and size + tensor.nbytes > _SHARD:
                close()
                shards.append({})
                size = 0
            shards[-1][name] = tensor
            size, total = size + tensor.nbytes, total + tensor.nbytes
        close()
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (new / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def _drawn(
    place: Place, shape: tuple[int, ...], deviation: float, rng: np.random.Generator, dtype: np.dtype
) -> np.ndarray:
    if place.leaf.init != "normal":
        return np.full(shape, 1 if place.leaf.init == "ones" else 0, dtype)
    tensor = np.empty(shape, dtype)
    for row in tensor.reshape(shape[0], -1) if len(shape) > 1 else [tensor]:
        row[...] = deviation * rng.standard_normal(row.shape, np.float32)
    return tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="Llama-3.1-8B")
    parser.add_argument("--tokenizer", type=Path, help="a folder whose tokenizer is copied")
    asked = parser.parse_args()
    write_checkpoint(asked.folder, SHAPES[asked.shape], asked.tokenizer)


if __name__ == "__main__":
    main()
