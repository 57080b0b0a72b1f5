"""The safetensors files of a checkpoint: a list of their tensors, from the headers, and slices read on demand."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from landed_jax.checkpoints.hf.table import Index
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.errors import LandedError, first_line
from landed_jax.files.inside import file_inside
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import is_ordinary

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LARGEST_HEADER = 16 << 20  # bytes; one tensor takes about 100
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: its name, its dtype as safetensors spells it, and its shape."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]

    def read(self, index: Index) -> np.ndarray:
        """A slice of the tensor, copied out of the memory map.

        The map is opened for each read: otherwise all pages read so far would count as this process's memory until
        the file is closed.
        """
        with safe_open(self.file, framework="numpy") as opened:
            return opened.get_slice(self.name)[index]


def check_inside(folder: Path) -> None:
    """Refuse a model folder with links to files elsewhere, which must not be copied.

    Raises:
        LandedError: for the first such link.
    """
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    for name in ("config.json", INDEX, *TOKENIZER_FILES, *shards):
        file_inside(folder, name)


def find_tensors(folder: Path, problems: list[str]) -> dict[str, Stored]:
    """Every tensor of the checkpoint in `folder`, by name; faults of its files are appended to `problems`.

    Raises:
        LandedError: if the folder has no safetensors checkpoint.
    """
    if is_ordinary(folder / SINGLE):
        return {stored.name: stored for stored in _open(folder / SINGLE, problems)}
    if not is_ordinary(folder / INDEX):
        raise LandedError(_no_checkpoint(folder))
    listed = _read_index(folder, problems)
    found: dict[str, Stored] = {}
    for shard, names in sorted(listed.items()):
        held = {stored.name: stored for stored in _open(folder / shard, problems)}
        if held:
            problems.extend(f"{name} is not in {shard}, where {INDEX} says it is" for name in sorted(names - set(held)))
            problems.extend(f"{name} is in {shard}, but not in {INDEX} so" for name in sorted(set(held) - names))
        for name in sorted(set(held) & set(found)):
            problems.append(f"{name} is twice there, in {found[name].file.name} and in {shard}")
        found.update(held)
    return found


def _open(file: Path, problems: list[str]) -> Iterator[Stored]:
    try:
        if not is_ordinary(file):
            problems.append(f"the file {file.name} is missing")
            return
        _check_header(file)
        with safe_open(file, framework="numpy") as opened:
            names = opened.keys()
            headers = [(name, opened.get_slice(name)) for name in names]
            yield from (Stored(name, file, view.get_dtype(), tuple(view.get_shape())) for name, view in headers)
    except LandedError as error:
        problems.append(str(error).rstrip("."))
    except (SafetensorError, OSError) as error:
        problems.append(f"the file {file.name} is cut off or damaged ({first_line(error)})")


def _check_header(file: Path) -> None:
    """Refuse a header that takes its parser more memory than the weights: it may say any length up to 100 MB."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    if length > _LARGEST_HEADER:
        raise LandedError(f"the file {file.name} is damaged: its header would have {length:,} bytes")


def _read_index(folder: Path, problems: list[str]) -> dict[str, set[str]]:
    """For each shard, the names of the tensors that the index lists in it."""
    weight_map = read_json_object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise LandedError(f"{folder / INDEX} has no weight_map: download the checkpoint again.")
    listed: dict[str, set[str]] = defaultdict(set)
    for name, shard in weight_map.items():
        if isinstance(shard, str) and Path(shard).name == shard and shard.endswith(".safetensors"):
            listed[shard].add(name)
        else:
            problems.append(f"{INDEX} puts {name} in {shard!r}, which is not a safetensors file of this folder")
    return listed


def _no_checkpoint(folder: Path) -> str:
    pickles = sorted(f.name for f in folder.iterdir() if f.suffix in _PICKLES)
    if pickles:
        return (
            f"{folder} holds its weights only as {', '.join(pickles)}, which is Python's pickle format, and opening "
            "a pickle executes whatever code is in it: take a safetensors checkpoint, or write one where you trust "
            "the file, with transformers' save_pretrained."
        )
    return f"{folder} holds no weights: neither {SINGLE} nor {INDEX} is there."
