"""The safetensors files of a checkpoint: a list of their tensors, from the headers, and slices read on demand."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.names import some
from landed_jax.checkpoints.hf.table import Index
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.errors import LandedError, first_line
from landed_jax.files.inside import file_inside
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import is_ordinary
from landed_jax.files.wrong_content import wrong_content

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LARGEST_HEADER = 16 << 20  # bytes; one tensor takes about 100
_CHUNK = 16 << 20  # bytes read and checked at a time
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: its name, its dtype as safetensors spells it, and its shape.

    Attributes:
        offset: where its bytes begin, row after row; None where they are not there as they are.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int | None = field(default=None, kw_only=True)

    @property
    def files(self) -> frozenset[Path]:
        """All files that a read opens."""
        return frozenset({self.file})

    def read(self, index: Index) -> np.ndarray:
        """A slice of the tensor, copied out of the memory map.

        The map is opened for each read: otherwise all pages read so far would count as this process's memory until
        the file is closed.
        """
        steps = tuple(slice(None, None, part.step) for part in index)  # which safetensors does not take
        with safe_open(self.file, framework="numpy") as opened:
            return opened.get_slice(self.name)[tuple(slice(part.start, part.stop) for part in index)][steps]

    def read_into(self, index: Index, out: np.ndarray) -> None:
        """Read a slice into an array of its shape and type: straight, where both lie in one piece.

        Raises:
            LandedError: if the file has become shorter.
        """
        first = self._first_of_piece(index)
        if first is None or not out.flags.c_contiguous:
            out[...] = self.read(index)
            return
        left = out.view(np.uint8).reshape(-1).data
        with self.file.open("rb", buffering=0) as file:
            file.seek(first)
            while left:
                if not (count := file.readinto(left)):
                    raise LandedError(f"{self.file} became shorter while it was read.")
                left = left[count:]

    def _first_of_piece(self, index: Index) -> int | None:
        """Where in the file a slice begins, if its bytes stand there one after another."""
        cuts = [part.indices(size) for part, size in zip(index, self.shape, strict=False)]
        cuts += [(0, size, 1) for size in self.shape[len(cuts) :]]
        cut = next((axis for axis, (start, stop, _) in enumerate(cuts) if stop - start != 1), len(cuts))
        whole = all(part == (0, size, 1) for part, size in zip(cuts[cut + 1 :], self.shape[cut + 1 :], strict=True))
        if self.offset is None or not whole or any(step != 1 for _, _, step in cuts):
            return None
        strides = [math.prod(self.shape[axis + 1 :]) for axis in range(len(cuts))]
        places = sum(start * stride for (start, _, _), stride in zip(cuts, strides, strict=True))
        return self.offset + places * FLOATS[self.dtype].itemsize


@dataclass
class Found:
    """What a checkpoint's files hold.

    Attributes:
        tensors: by the file's names.
        causes: files that cannot be read, and tensors that are there twice.
        unread: the tensors of files that cannot be read, as the index lists them; None for every tensor.
        misplaced: tensors of which the index says what is not so, and what it says.
    """

    tensors: dict[str, Stored] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)
    unread: set[str] | None = field(default_factory=set)
    misplaced: list[tuple[str, str]] = field(default_factory=list)


def chunks_of(stored: Stored) -> Iterator[Index]:
    """Slices that cover a tensor, each of about 16 MiB."""
    return chunks(stored.shape, FLOATS[stored.dtype].itemsize)


def chunks(shape: tuple[int, ...], itemsize: int) -> Iterator[Index]:
    """Slices along the first axis, each of about 16 MiB."""
    rows = max(1, _CHUNK // max(1, itemsize * math.prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield (slice(start, min(start + rows, shape[0])),)


def check_inside(folder: Path) -> None:
    """Refuse a model folder with links to files elsewhere, which must not be copied.

    Raises:
        LandedError: for the first such link.
    """
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    for name in ("config.json", INDEX, *TOKENIZER_FILES, *shards):
        file_inside(folder, name)


def find_tensors(folder: Path) -> Found:
    """Every tensor of the checkpoint in `folder`, and the faults of its files.

    Raises:
        LandedError: if the folder has no safetensors checkpoint.
    """
    found = Found()
    if is_ordinary(folder / SINGLE):
        found.tensors = {stored.name: stored for stored in open_tensors(folder / SINGLE, found.causes)}
        if found.causes:
            found.unread = None
        return found
    if not is_ordinary(folder / INDEX):
        raise LandedError(_no_checkpoint(folder))
    found.unread = unread = set()
    for shard, names in sorted(_read_index(folder, found).items()):
        faults = len(found.causes)
        held = {stored.name: stored for stored in open_tensors(folder / shard, found.causes)}
        if len(found.causes) > faults:
            unread |= names
            continue
        absent, unlisted = sorted(names - set(held)), sorted(set(held) - names)
        found.misplaced += [(name, f"{name} is not in {shard}, where {INDEX} says it is") for name in absent]
        found.misplaced += [(name, f"{name} is in {shard}, but not in {INDEX} so") for name in unlisted]
        for name in sorted(set(held) & set(found.tensors)):
            found.causes.append(f"{name} is twice there, in {found.tensors[name].file.name} and in {shard}")
        found.tensors.update(held)
    return found


def open_tensors(file: Path, problems: list[str]) -> Iterator[Stored]:
    """The tensors of one safetensors file, from its header; what is wrong with the file is appended to `problems`."""
    try:
        if not is_ordinary(file):
            problems.append(f"the file {file.name} is missing")
            return
        if (instead := wrong_content(file)) is not None:
            problems.append(f"the file {file.name} is {instead}")
            return
        _check_header(file)
        with safe_open(file, framework="numpy") as opened:
            names = opened.keys()
            headers = [(name, opened.get_slice(name)) for name in names]
            offsets = _offsets(file)
            yield from (
                Stored(name, file, view.get_dtype(), tuple(view.get_shape()), offset=offsets[name])
                for name, view in headers
            )
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


def _offsets(file: Path) -> dict[str, int]:
    """Where each tensor of a file with a sound header begins."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    return {name: 8 + length + held["data_offsets"][0] for name, held in header.items() if name != "__metadata__"}


def _read_index(folder: Path, found: Found) -> dict[str, set[str]]:
    """For each shard, the names of the tensors that the index lists in it."""
    weight_map = read_json_object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise LandedError(f"{folder / INDEX} has no weight_map: download the checkpoint again.")
    listed: dict[str, set[str]] = defaultdict(set)
    for name, shard in weight_map.items():
        if isinstance(shard, str) and Path(shard).name == shard and shard.endswith(".safetensors"):
            listed[shard].add(name)
        else:
            found.causes.append(f"{INDEX} puts {name} in {shard!r}, which is not a safetensors file of this folder")
    return listed


def _no_checkpoint(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if shards := [name for name in names if name.startswith("model-") and name.endswith(".safetensors")]:
        return (
            f"{folder} holds shards of weights ({some(shards)}) without their index: put {INDEX} of the same "
            "checkpoint beside them."
        )
    if packed := [name for name in names if name.endswith(".gguf")]:
        return f"{folder} holds {some(packed)}, but no {SINGLE}: give the GGUF file itself, {folder / packed[0]}."
    if others := [name for name in names if name.endswith(".safetensors") and "adapter" not in name]:
        return (
            f"{folder} holds {some(others)}, but no {SINGLE}: weights are read in Hugging Face layout under that "
            f"name, or in shards with {INDEX}."
        )
    if pickles := [name for name in names if name.endswith(PICKLES) and "adapter" not in name]:
        return no_pickles(str(folder), pickles)
    return f"{folder} holds no weights: neither {SINGLE} nor {INDEX} is there."


def no_pickles(where: str, pickles: list[str]) -> str:
    """The sentence for weights that are there only as pickles."""
    return (
        f"{where} holds its weights only as {some(pickles)}, which is Python's pickle format, and "
        "opening a pickle executes whatever code is in it: take a safetensors checkpoint, or write one where you trust "
        "the file, with transformers' save_pretrained."
    )
