"""The writer: a model as a folder in Hugging Face layout."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from landed_jax.checkpoints.hf.shards import write_shards
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.checkpoints.source_files import write_source_files
from landed_jax.families import Family, families
from landed_jax.families.reading import activation_name
from landed_jax.files.inside import keep_private
from landed_jax.files.parts import Parts
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params, leaf_dtypes
from landed_jax.nn.rope_config import RopeConfig
from landed_jax.processes import new_folder_of_all


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The fields of config.json for this architecture, which the gate reads back as the same `ModelConfig`.

    Raises:
        LandedError: for switches that the family does not have, such as biases in a Mistral.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> config_to_hf(config)["hidden_size"]
    8
    """
    family = families()[config.family]
    family.check_writable(config)
    named = {"architectures": [family.architecture], "model_type": config.family}
    fields = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": None if "activation" in family.held else activation_name(config),
        "rms_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_positions,
        **_rope_fields(config, family),
        "tie_word_embeddings": config.tie_embeddings,
    }
    spelled = {own: value for name, value in fields.items() if (own := family.spelled(name)) is not None}
    return {**named, **spelled, **family.fields(config)}


_SCALING_KEYS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "original_max_positions", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", "original_max_positions", "beta_fast", "beta_slow", "truncate", "attention_factor"),
    "longrope": ("original_max_positions", "attention_factor", "short_factors", "long_factors"),
}
_THEIR_NAMES = {
    "original_max_positions": "original_max_position_embeddings",
    "short_factors": "short_factor",
    "long_factors": "long_factor",
}


def _rope_fields(config: ModelConfig, family: Family) -> dict[str, Any]:
    """The inverse of `read_rope`; the oldest spelling that has everything."""
    if "local_rope" in family.held:
        ropes = {"full_attention": config.rope, "sliding_attention": config.local_rope or config.rope}
        return {"rope_parameters": {name: {**_scaling(r), "rope_theta": r.theta} for name, r in ropes.items()}}
    fields: dict[str, Any] = {"rope_theta": config.rope.theta}
    if "rotary_dim" in family.held:
        # The next float above the ratio, of which the product with head_dim is never rounded to below `rotated`.
        fields["partial_rotary_factor"] = min(math.nextafter(config.rotated / config.head_dim, 2), 1.0)
    scaling: Any = None if config.rope.kind == "default" else _scaling(config.rope)
    if "query_growth" in family.held:
        original = config.rope.original_max_positions or config.max_positions
        growth = {"llama_4_scaling_beta": config.query_growth, "original_max_position_embeddings": original}
        scaling = {**_scaling(config.rope), **growth}
    return {**fields, "rope_scaling": scaling}


def _scaling(rope: RopeConfig) -> dict[str, Any]:
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(rope).items()}
    scaling: dict[str, Any] = {"rope_type": rope.kind}
    return scaling | {_THEIR_NAMES.get(key, key): values[key] for key in _SCALING_KEYS[rope.kind]}


def save_hf(
    dst: Path,
    config: ModelConfig,
    params: Params,
    source: Path,
    *,
    job: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a new folder in Hugging Face layout, atomically, with the tokenizer of the model in `source`.

    Under `jax.distributed` all processes call it, and the first writes.

    Args:
        job: as for `new_folder`: what an interrupted process has finished of the same job is taken over.
        progress: ``progress(done, total)`` in bytes.

    Raises:
        LandedError: if `dst` exists or cannot be written, or the family cannot hold the config.
    """
    with new_folder_of_all(dst, job) as folder:
        if jax.process_index() == 0:
            finished = Parts(folder, job is not None and jax.process_count() == 1)
            write_checkpoint(folder, config, params, finished=finished, progress=progress)
            write_source_files(source, folder, TOKENIZER_FILES)
            keep_private(source, folder)


def write_checkpoint(
    folder: Path,
    config: ModelConfig,
    params: Params,
    extra: Mapping[str, Any] | None = None,
    *,
    finished: Parts | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write config.json and the weights into `folder`, in their own float types: model.safetensors, or its shards.

    Args:
        extra: further fields of config.json, such as the special tokens' ids.
        finished: the shards that are there already.
        progress: ``progress(done, total)`` in bytes.
    """
    dtypes = {str(dtype) for dtype in leaf_dtypes(config, params).values()}
    fields = {**config_to_hf(config), **({"dtype": dtypes.pop()} if len(dtypes) == 1 else {}), **(extra or {})}
    finished = Parts(folder) if finished is None else finished
    write_shards(folder, config, params, finished, progress)
    finished.close()
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
