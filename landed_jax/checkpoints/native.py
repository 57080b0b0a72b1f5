"""The native checkpoint: the parameters in Orbax, with the config and the tokenizer's files beside them.

landed.json       format, ModelConfig, the leaves of each part with their float types, the checksums of all other files
                  and of itself
params/0, 1, …    Orbax, one subtree a layer: leaf after leaf, each part of about 512 MiB
config.json, …    the original config and the tokenizer's files, unchanged; made from the metadata of a GGUF file
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from landed_jax.checkpoints.hf.dtypes import FLOATS, require_64_bit
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.checkpoints.hf.tokenizer_sizes import LARGEST_TOKENIZER_FILE
from landed_jax.checkpoints.native_arrays import cut_into_parts, read_parts, write_parts
from landed_jax.checkpoints.source_files import write_source_files
from landed_jax.errors import LandedError, first_line, shown
from landed_jax.exchange import spans
from landed_jax.families import families
from landed_jax.files.checksums import crc32, files_of, folder_checksums, sealed, unsealed
from landed_jax.files.inside import keep_private
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import is_ordinary
from landed_jax.files.parts import Parts
from landed_jax.memory.host import default_device, device_memory
from landed_jax.memory.shortage import human_bytes, require_memory
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Kinds, Leaf, Params, leaf_dtypes, leaf_places
from landed_jax.nn.sharding import leaf_sharding
from landed_jax.processes import new_folder_of_all

FORMAT = 6
MANIFEST = "landed.json"
_PARAMS = "params"
_FLOATS = {str(dtype): dtype for dtype in FLOATS.values()}
_OVERHEAD = 64 << 20  # bytes of Orbax's own files, and more


def is_native(folder: Path) -> bool:
    """Whether `folder` has a manifest, as `save_native` writes it: a pipe in its place is refused when it is read."""
    return os.path.lexists(folder / MANIFEST)


def save_native(
    dst: Path,
    config: ModelConfig,
    params: Params,
    source: Path | None = None,
    notes: Sequence[str] = (),
    *,
    job: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a native checkpoint, atomically, part by part: of weights that are on disk one part is in memory at a time.

    Under `jax.distributed` all processes call it. Leaves that are sharded over processes are written by all of them,
    leaves that each process has in full by the first.

    Args:
        params: in either layout; stored with one subtree a layer, in their own float types.
        source: the folder or GGUF file of the model, where the original config and tokenizer come from.
        notes: how the weights were read, for the results of the new folder.
        job: as for `new_folder`: what an interrupted process has finished of the same job is taken over.
        progress: ``progress(done, total)`` in bytes.

    Raises:
        LandedError: if `dst` exists, is being written by another process or thread, or cannot be written.
    """
    with new_folder_of_all(dst, job) as folder:
        kinds = leaf_dtypes(config, params)
        parts = cut_into_parts(config, kinds)
        finished = Parts(folder, job is not None) if jax.process_count() == 1 else None
        write_parts(folder / _PARAMS, config, params, parts, finished, progress)
        if jax.process_index() == 0:
            checksums = folder_checksums(folder) if finished is None else finished.close()
            if source is not None:
                write_source_files(source, folder)
            named = [{"/".join(path): str(kinds[path]) for path in part} for part in parts]
            manifest = {"format": FORMAT, "config": config.to_dict(), "parts": named, "notes": list(notes)}
            others = [name for name in files_of(folder) if name not in checksums]
            manifest["files"] = checksums | {name: crc32(folder / name) for name in others}
            (folder / MANIFEST).write_text(json.dumps(sealed(manifest), indent=1), encoding="utf-8")
            if source is not None:
                keep_private(source, folder)


def load_native(folder: Path, mesh: Mesh | None = None, stacked: bool = False) -> tuple[ModelConfig, Params]:
    """A native checkpoint's config and parameters.

    Args:
        mesh: place each leaf on it, as `leaf_sharding` says.
        stacked: give layer leaves a leading layer axis.

    Raises:
        LandedError: if the folder is not a native checkpoint, is damaged, or is of another format.
    """
    folder = Path(folder).absolute()
    config, parts, files = _manifest(folder)
    dtypes = _joined(parts)
    require_64_bit(dtypes.values())
    shardings = _shardings(config, mesh)
    leaves = dict(leaf_places(config))
    stored = _stored_bytes(config, dtypes)
    if mesh is None:
        require_memory(stored, device_memory(default_device()), f"The weights in {folder}")
    _check_files(folder, files, stored, shared=mesh is not None and spans(mesh))
    abstract = [
        {
            path: jax.ShapeDtypeStruct(leaves[path].shape(config), kind, sharding=shardings(leaves[path]))
            for path, kind in part.items()
        }
        for part in parts
    ]
    params = read_parts(folder / _PARAMS, abstract)
    return config, _stack_in_place(params) if stacked else params


def _stored_bytes(config: ModelConfig, dtypes: Kinds) -> int:
    return sum(math.prod(leaf.shape(config)) * dtypes[path].itemsize for path, leaf in leaf_places(config))


def read_manifest(folder: Path) -> tuple[ModelConfig, str | None]:
    """A native checkpoint's config, and the float type of its leaves, or None where they differ.

    Raises:
        LandedError: as `load_native` does.
    """
    config, parts, _ = _manifest(folder)
    kinds = {str(dtype) for dtype in _joined(parts).values()}
    return config, kinds.pop() if len(kinds) == 1 else None


def read_notes(folder: Path) -> list[str]:
    """How the weights of a native checkpoint were read when it was written.

    Raises:
        LandedError: as `load_native` does.
    """
    _manifest(folder)
    notes = read_json_object(folder / MANIFEST).get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise LandedError(f"{folder / MANIFEST} is damaged: convert again. (Its notes are not sentences.)")
    return notes


def check_native(folder: Path) -> None:
    """Compare all files with their checksums.

    Raises:
        LandedError: as `load_native` does.
    """
    config, parts, files = _manifest(folder)
    _check_files(folder, files, _stored_bytes(config, _joined(parts)))


def _joined(parts: Sequence[Kinds]) -> Kinds:
    return {path: kind for part in parts for path, kind in part.items()}


def _manifest(folder: Path) -> tuple[ModelConfig, list[Kinds], Any]:
    """The config, the float type of each leaf of each part, and the checksums by file."""
    manifest = read_json_object(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise LandedError(
            f"{folder / MANIFEST} is of format {shown(manifest.get('format'))}, and this version reads {FORMAT}: "
            "convert again."
        )
    if not unsealed(manifest):
        raise LandedError(f"{folder / MANIFEST} is damaged: convert again. (Its checksum is another.)")
    try:
        config = ModelConfig.from_dict(manifest["config"])
        parts = [{tuple(name.split("/")): _FLOATS[kind] for name, kind in part.items()} for part in manifest["parts"]]
        if sorted(path for part in parts for path in part) != sorted(path for path, _ in leaf_places(config)):
            raise LandedError("Its parts are not this model's leaves.")
    except (AttributeError, KeyError, TypeError, LandedError) as error:
        raise LandedError(f"{folder / MANIFEST} is damaged: convert again. ({first_line(error)})") from error
    if config.family not in families():
        raise LandedError(f"{folder / MANIFEST} is of the family {shown(config.family)}: convert again.")
    return config, parts, manifest.get("files")


def _shardings(config: ModelConfig, mesh: Mesh | None) -> Callable[[Leaf], Sharding]:
    if mesh is not None:
        return lambda leaf: leaf_sharding(leaf, config, mesh)
    device = SingleDeviceSharding(default_device())
    return lambda _: device


@jax.jit  # as one program it copies each leaf once
def _stack(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack(leaves)


def _stack_in_place(params: Params) -> Params:
    """The stacked tree; the layers of each leaf are released as soon as they are copied."""
    layers = [params["layers"].pop(str(i)) for i in range(len(params["layers"]))]
    stacked: Params = {part: {} for part in layers[0]}
    for part, leaves in layers[0].items():
        for name in list(leaves):
            stacked[part][name] = _stack([layer[part].pop(name) for layer in layers]).block_until_ready()
    return {**params, "layers": stacked}


def _check_files(folder: Path, expected: Any, weights: int, shared: bool = False) -> None:
    """Compare checksums before any array is read: Orbax loads an array with changed bits without an error.

    Args:
        shared: whether all processes do it together, each for some of the files.

    Kinds and sizes come first, as a pipe would never end, and a damaged file system may show files of any size.
    """
    if not isinstance(expected, dict) or not expected:
        raise LandedError(f"{folder / MANIFEST} lists no files: convert again.")
    found = [name for name in files_of(folder) if name in expected or _belongs(name)]
    for name in sorted(set(expected) - set(found)):
        raise LandedError(f"{folder} is damaged, convert again: {name} is missing.")
    for name in found:
        if name not in expected:
            raise LandedError(f"{folder} is damaged, convert again: {name} was not written with it.")
        is_ordinary(folder / name, None if name.startswith(f"{_PARAMS}/") else LARGEST_TOKENIZER_FILE)
    held = sum(os.path.getsize(folder / name) for name in found if name.startswith(f"{_PARAMS}/"))
    if held > 2 * weights + _OVERHEAD:
        sizes = f"{human_bytes(held)} for weights of {human_bytes(weights)}"
        raise LandedError(f"{folder} is damaged, convert again: {_PARAMS} has {sizes}.")
    index, count = (jax.process_index(), jax.process_count()) if shared else (0, 1)
    for name in found[index::count]:
        if crc32(folder / name) != expected[name]:
            raise LandedError(f"{folder} is damaged, convert again: {name} is not what was written.")


def _belongs(name: str) -> bool:
    """Whether a file of a native folder would be read."""
    return name.startswith(f"{_PARAMS}/") or name in ("config.json", *TOKENIZER_FILES)
