"""The streaming reader: it reads the tensors of a Hugging Face checkpoint one by one into the parameter tree."""

import contextlib
import math
import mmap
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from landed_jax.checkpoints.hf.dtypes import FLOATS, count_not_finite, require_64_bit
from landed_jax.checkpoints.hf.files import Stored, chunks, chunks_of
from landed_jax.checkpoints.hf.survey import Survey
from landed_jax.checkpoints.hf.table import Entry, Index, Place, tensor_places
from landed_jax.errors import Refusal
from landed_jax.memory.host import default_device, device_memory
from landed_jax.memory.shortage import require_memory
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params, Path, build_tree
from landed_jax.nn.sharding import leaf_sharding

Progress = Callable[[int, int], None]
"""``progress(done, total)``, in bytes."""

_STAY_OUTSIDE = "They can stay on disk: --stream of `landed run` and `landed study`, stream=True in Python."
_OWN_PAGES = 1 << 20  # bytes from which a buffer has pages of its own
_ALIGNMENT = 64  # bytes; JAX on a CPU uses a NumPy buffer of this alignment without a copy


def read_params(
    survey: Survey, *, mesh: Mesh | None = None, stacked: bool = False, progress: Progress | None = None
) -> Params:
    """The parameters of a surveyed checkpoint, unaltered and in its own float types.

    Memory use is at most the parameters, one tensor and one chunk of another.

    Args:
        survey: what the checkpoint's files hold, from `survey_checkpoint`.
        mesh: place each leaf on it as `leaf_sharding` says, reading only the slices this process needs.
        stacked: give layer leaves a leading layer axis, in place of one subtree a layer.
        progress: called as bytes are read.

    Raises:
        LandedError: with a list of all faults of the checkpoint: files and tensors that are missing, surplus,
            duplicate, misshapen, of another type, or not finite.
    """
    config, sound, problems = survey.config, survey.sound, list(survey.problems)
    groups = groups_of(survey, stacked, problems)
    reader = Reader(config, progress, survey.size)
    if problems:  # no leaf is placed, but all values are checked, so that one error lists all faults
        reader.check_all(sound)
    else:
        if mesh is None:
            size, room = survey.size, device_memory(default_device())
            require_memory(size, room, f"The weights in {survey.folder}", _STAY_OUTSIDE)
        leaves = [(path, reader.place(group, [sound[p.name] for p in group], mesh, stacked)) for path, group in groups]
        if not reader.bad:
            return build_tree(iter(leaves))
    raise refusal(survey, problems + reader.not_finite())


def check_values(survey: Survey) -> None:
    """Read and check every value of a checkpoint without keeping it. Needs no device.

    Raises:
        LandedError: as `read_params` does.
    """
    reader = Reader(survey.config, None, survey.size)
    reader.check_all(survey.sound)
    if problems := [*survey.problems, *reader.not_finite()]:
        raise refusal(survey, problems)


def refusal(survey: Survey, problems: list[str]) -> Refusal:
    return Refusal(f"The checkpoint in {survey.folder} cannot be read", problems)


def groups_of(survey: Survey, stacked: bool, problems: list[str]) -> list[tuple[Path, list[Place]]]:
    """The places of each leaf; those that are of several types are added to `problems`.

    Raises:
        LandedError: for float64 while JAX has 64-bit types switched off.
    """
    groups = _group(list(tensor_places(survey.config)), stacked)
    for path, group in groups:
        dtypes = Counter(survey.sound[place.name].dtype for place in group if place.name in survey.sound)
        if len(dtypes) > 1:
            where = "layers" if group[0].expert is None else "layers or experts"
            problems.append(f"{'/'.join(path)} is {' and '.join(dtypes)} in different {where}, so it cannot be stacked")
    if not problems:
        require_64_bit(FLOATS[stored.dtype] for stored in survey.sound.values())
    return groups


def _group(places: list[Place], stacked: bool) -> list[tuple[Path, list[Place]]]:
    """The places of each leaf of the tree: one, or one per layer where layers are stacked, times the experts."""
    groups: dict[Path, list[Place]] = {}
    for place in places:
        in_layer = place.path[0] == "layers"
        path = ("layers", *place.path[2:]) if stacked and in_layer else place.path
        groups.setdefault(path, []).append(place)
    return list(groups.items())


class Reader:
    """Reads slices into buffers, chunk by chunk, and counts values that are not finite."""

    def __init__(self, config: ModelConfig, progress: Progress | None, total: int) -> None:
        self.config = config
        self.progress = progress
        self.done, self.total = 0, total
        self.bad: Counter[str] = Counter()

    def place(self, group: list[Place], stored: list[Stored], mesh: Mesh | None, stacked: bool) -> jax.Array:
        """One leaf of the tree, on the default device or sharded over the mesh."""
        leaf, entry = group[0].leaf, group[0].entry
        with_layers = stacked and group[0].path[0] == "layers"
        parts = self.config.n_experts if entry.by_expert else 1
        shape = (*((len(group) // parts,) if with_layers else ()), *leaf.shape(self.config))
        buffers: dict[Any, np.ndarray] = {}

        def read(index: Any) -> np.ndarray:
            cuts = tuple(cut.indices(size)[:2] for cut, size in zip(index, shape, strict=True))
            if cuts not in buffers:  # replicated slices are read once
                buffer = _aligned_empty([stop - start for start, stop in cuts], FLOATS[stored[0].dtype])
                layers = range(*cuts[0]) if with_layers else (0,)
                inside = index[1:] if with_layers else index
                for layer, part in zip(layers, buffer if with_layers else buffer[None], strict=True):
                    if not entry.by_expert:
                        self.fill(part, stored[layer], entry, inside)
                        continue
                    for own, expert in zip(part, range(*inside[0].indices(parts)), strict=True):
                        self.fill(own, stored[layer * parts + expert], entry, inside[1:], expert)
                buffers[cuts] = buffer
            return buffers[cuts]

        if mesh is None:
            return jax.device_put(read(tuple(slice(0, size) for size in shape)))
        return jax.make_array_from_callback(shape, leaf_sharding(leaf, self.config, mesh, with_layers), read)

    def check_all(self, sound: dict[str, Stored]) -> None:
        """Read and check every value without keeping it."""
        for stored in sound.values():
            for rows in chunks_of(stored):
                self._check(stored, stored.read(rows))

    def fill(self, buffer: np.ndarray, stored: Stored, entry: Entry, index: Index, expert: int = 0) -> None:
        """Read a slice of a leaf, or of one expert's part of it, out of its tensor into `buffer`, of its shape."""
        merged = buffer.reshape([cut.stop - cut.start for cut in entry.index(self.config, index)])
        mine = (slice(expert, expert + 1),) if entry.of_all_experts else ()
        for piece, at in entry.pieces(self.config, index):
            part = entry.as_stored(merged[at])
            first, step = piece[0].start, piece[0].step or 1
            for rows in chunks(part.shape, FLOATS[stored.dtype].itemsize):
                start, last = (first + step * row for row in (rows[0].start, rows[0].stop - 1))
                into = part[rows]
                stored.read_into((*mine, slice(start, last + 1, step), *piece[1:]), into[None] if mine else into)
                self._check(stored, into)

    def not_finite(self) -> list[str]:
        """A sentence for each tensor in which values that are not finite were read."""
        return [f"{name} holds {count} values that are not finite" for name, count in self.bad.items()]

    def _check(self, stored: Stored, chunk: np.ndarray) -> None:
        self.done += chunk.nbytes
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)
        if bad := count_not_finite(chunk):
            self.bad[stored.name] += bad


def _aligned_empty(shape: list[int], dtype: np.dtype) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    if size >= _OWN_PAGES:  # given back to the system as soon as it is let go, which the C library may put off
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        pages = mmap.mmap(-1, size, **private)  # of a shared one the system keeps small pages
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a system without them
                pages.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(pages, dtype).reshape(shape)
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
