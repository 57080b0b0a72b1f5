"""The safetensors files of a folder that is written: shards of at most 5 GB, filled tensor by tensor."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.files import INDEX, SINGLE
from landed_jax.checkpoints.hf.table import lazy_tensors, tensor_places
from landed_jax.files.parts import Parts
from landed_jax.memory.shortage import require_disk
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params, leaf_at

_SHARD = 5 * 10**9  # bytes, as Hugging Face's own programs cut
_NAMES = {dtype: name for name, dtype in FLOATS.items()}


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    dtype: np.dtype
    make: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write_shards(
    folder: Path,
    config: ModelConfig,
    params: Params,
    finished: Parts,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the shards that are not finished, and their index where there are several; a full disk is an OSError.

    Args:
        params: in either layout; of leaves that are on disk those of one tensor are in memory at a time.
        finished: the shards of `folder` that are there.
        progress: ``progress(done, total)`` in bytes.
    """
    shards = _cut(_tensors(params, config))
    total = sum(tensor.size for shard in shards for tensor in shard.values())
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    names = [SINGLE] if len(shards) == 1 else names
    left = [shard for name, shard in zip(names, shards, strict=True) if not finished.is_finished(name)]
    require_disk(folder, sum(tensor.size for shard in left for tensor in shard.values()))
    done = 0

    def wrote(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    for name, shard in zip(names, shards, strict=True):
        if finished.is_finished(name):
            wrote(sum(tensor.size for tensor in shard.values()))
        else:
            _write(folder / name, shard, wrote)
            finished.finish(name)
    if len(shards) > 1:
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _tensors(params: Params, config: ModelConfig) -> dict[str, _Tensor]:
    places = {place.name: place for place in tensor_places(config)}
    return {
        name: _Tensor(
            places[name].entry.shape(config),
            np.dtype(leaf_at(params, places[name].path, whole=False).dtype),
            make,
        )
        for name, make in lazy_tensors(params, config)
    }


def _cut(tensors: dict[str, _Tensor]) -> list[dict[str, _Tensor]]:
    shards: list[dict[str, _Tensor]] = [{}]
    held = 0
    for name, tensor in tensors.items():
        if shards[-1] and held + tensor.size > _SHARD:
            shards.append({})
            held = 0
        shards[-1][name] = tensor
        held += tensor.size
    return shards


def _write(file: Path, tensors: dict[str, _Tensor], wrote: Callable[[int], None]) -> None:
    """One file, as https://huggingface.co/docs/safetensors describes it: a header's length, the header, the tensors."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    # Wide types first, so that every tensor begins at a multiple of its type's size.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize)
    at = 0
    for name, tensor in ordered:
        offsets = [at, at := at + tensor.size]
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            opened.write(tensor.make().reshape(-1).view(np.uint8).data)
            wrote(tensor.size)
