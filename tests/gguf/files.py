"""GGUF files that tests write, as llama.cpp's own conversion writes them: its names by the package's map, its changes
by its formulas."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

ARCHITECTURES = {"gemma3_text": "gemma3"}
"""By ``model_type``, where they differ."""

LETTERS = [*"abcdefghijklmnopqrstuvw"]


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys as llama.cpp rotates them, pairs side by side."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def converted(name: str, tensor: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """A checkpoint's tensor as the conversion changes it."""
    kind = config["model_type"]
    if kind in ("llama", "smollm3") and name.split(".")[-2] in ("q_proj", "k_proj"):
        return interleaved(tensor, config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return tensor + np.float32(1)
    if kind == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return np.ascontiguousarray(tensor.T)
    return tensor


def packed(tensor: np.ndarray, kind: Kind) -> np.ndarray:
    """A matrix in a type; where the package cannot quantise, blocks of random bytes with sound scales."""
    try:
        return gguf.quantize(tensor, kind)
    except NotImplementedError:  # most K-quants: the package dequantises them only
        return random_blocks(tensor.shape, kind)


def random_blocks(shape: tuple[int, ...], kind: Kind, seed: int = 0) -> np.ndarray:
    in_block, size = gguf.GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (*shape[:-1], shape[-1] // in_block, size), dtype=np.uint8)
    for start in {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[kind.name]:
        scales = (random.uniform(0.5, 1, blocks.shape[:-1]) * 1e-3).astype(np.float16)
        blocks[..., start : start + 2] = scales[..., None].view(np.uint8)
    return blocks.reshape(*shape[:-1], -1)


def write_gguf(
    path: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    kind: Kind = Kind.F32,
    more: Mapping[str, Any] | None = None,
    drop: tuple[str, ...] = (),
) -> Path:
    """A GGUF file of a checkpoint.

    Args:
        config: the fields of its config.json.
        tensors: by their Hugging Face names.
        kind: of all matrices; vectors stay in float32.
        more: further metadata, by full names; it goes before the usual.
        drop: full names that are left out.
    """
    arch = ARCHITECTURES.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(path, arch)
    fields = {f"{arch}.{name}": value for name, value in metadata(config).items()} | dict(more or {})
    for name, value in fields.items():
        if name not in drop:
            _add(writer, name, value)
    number = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
    names = gguf.get_tensor_name_map(number, config.get("num_hidden_layers") or config["n_layer"])
    for name, tensor in tensors.items():
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias")) or name
        values = converted(name, np.asarray(tensor), config)
        own = kind if values.ndim > 1 else Kind.F32
        data = packed(values, own)
        writer.add_tensor(theirs, data, raw_dtype=own if data.dtype == np.uint8 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def metadata(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the conversion writes of a config.json."""
    if config["model_type"] == "gpt2":
        return {
            "block_count": config["n_layer"],
            "context_length": config["n_positions"],
            "embedding_length": config["n_embd"],
            "feed_forward_length": 4 * config["n_embd"],
            "attention.head_count": config["n_head"],
            "attention.layer_norm_epsilon": float(config["layer_norm_epsilon"]),
        }
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    fields = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
    }
    if not config["model_type"].startswith("gemma"):
        fields["rope.dimension_count"] = head_dim
    given = {
        "rope.freq_base": config.get("rope_theta"),
        "attn_logit_softcapping": config.get("attn_logit_softcapping"),
        "final_logit_softcapping": config.get("final_logit_softcapping"),
        "attention.sliding_window": config.get("sliding_window"),
    }
    return fields | {name: float(v) if "window" not in name else v for name, v in given.items() if v is not None}


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    if name == "general.alignment":
        writer.add_custom_alignment(value)
    elif isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        writer.add_uint32(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    else:
        writer.add_array(name, value)
