"""The native checkpoint: the parameters in Orbax, with the config and the tokenizer's files beside them.

landed.json       format, ModelConfig, the float type of each leaf, the checksums of all other files and of itself
params/           Orbax, one subtree a layer
config.json, …    the original config and the tokenizer's files, unchanged; made from the metadata of a GGUF file
"""

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from landed_jax.checkpoints.hf.dtypes import FLOATS, require_64_bit
from landed_jax.checkpoints.hf.tokenizer import TOKENIZER_FILES
from landed_jax.checkpoints.hf.tokenizer_sizes import LARGEST_TOKENIZER_FILE
from landed_jax.checkpoints.orbax import StorageError, attempt, quiet
from landed_jax.checkpoints.source_files import write_source_files
from landed_jax.errors import LandedError, first_line, shown
from landed_jax.families import families
from landed_jax.files.checksums import crc32, files_of, folder_checksums, sealed, unsealed
from landed_jax.files.inside import keep_private
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import is_ordinary
from landed_jax.memory.host import default_device, device_memory
from landed_jax.memory.shortage import human_bytes, require_memory
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Leaf, Params, build_tree, leaf_places, unstack_layers
from landed_jax.nn.parameters import Path as ParamPath
from landed_jax.nn.sharding import leaf_sharding
from landed_jax.processes import new_folder_of_all

FORMAT = 5
MANIFEST = "landed.json"
_PARAMS = "params"
_FLOATS = {str(dtype): dtype for dtype in FLOATS.values()}
_IN_FLIGHT = 32 << 20  # bytes read or written concurrently, unless one leaf is larger
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
) -> None:
    """Write a native checkpoint, atomically.

    Under `jax.distributed` all processes call it. Leaves that are sharded over processes are written by all of them,
    leaves that each process has in full by the first.

    Args:
        params: in either layout; stored with one subtree a layer, in their own float types.
        source: the folder or GGUF file of the model, where the original config and tokenizer come from.
        notes: how the weights were read, for the results of the new folder.

    Raises:
        LandedError: if `dst` exists, is being written by another process or thread, or cannot be written.
    """
    with new_folder_of_all(dst) as folder:
        params = unstack_layers(params)
        _write_arrays(folder / _PARAMS, params)
        if jax.process_index() == 0:
            if source is not None:
                write_source_files(source, folder)
            manifest = {"format": FORMAT, "config": config.to_dict(), "dtypes": _dtypes(config, params)}
            manifest["notes"] = list(notes)
            manifest["files"] = folder_checksums(folder)
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
    config, dtypes, files = _manifest(folder)
    require_64_bit(dtypes.values())
    shardings = _shardings(config, mesh)
    abstract = build_tree(
        (path, jax.ShapeDtypeStruct(leaf.shape(config), dtypes[path], sharding=shardings(leaf)))
        for path, leaf in leaf_places(config)
    )
    stored = _stored_bytes(config, dtypes)
    if mesh is None:
        require_memory(stored, device_memory(default_device()), f"The weights in {folder}")
    _check_files(folder, files, stored)
    _check_arrays(folder / _PARAMS, abstract)
    params = _read_arrays(folder / _PARAMS, abstract)
    return config, _stack_in_place(params) if stacked else params


def _stored_bytes(config: ModelConfig, dtypes: dict[ParamPath, np.dtype]) -> int:
    return sum(math.prod(leaf.shape(config)) * dtypes[path].itemsize for path, leaf in leaf_places(config))


def read_manifest(folder: Path) -> tuple[ModelConfig, str | None]:
    """A native checkpoint's config, and the float type of its leaves, or None where they differ.

    Raises:
        LandedError: as `load_native` does.
    """
    config, dtypes, _ = _manifest(folder)
    kinds = {str(dtype) for dtype in dtypes.values()}
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
    config, dtypes, files = _manifest(folder)
    _check_files(folder, files, _stored_bytes(config, dtypes))


def _manifest(folder: Path) -> tuple[ModelConfig, dict[ParamPath, np.dtype], Any]:
    """The config, the float type of each leaf, and the checksums by file."""
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
        named = {path: manifest["dtypes"]["/".join(path)] for path, _ in leaf_places(config)}
        dtypes = {path: _FLOATS[name] for path, name in named.items()}
    except (KeyError, TypeError, LandedError) as error:
        raise LandedError(f"{folder / MANIFEST} is damaged: convert again. ({first_line(error)})") from error
    if config.family not in families():
        raise LandedError(f"{folder / MANIFEST} is of the family {shown(config.family)}: convert again.")
    return config, dtypes, manifest.get("files")


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


def _dtypes(config: ModelConfig, params: Params) -> dict[str, str]:
    dtypes = {}
    for path, _ in leaf_places(config):
        node: Any = params
        for part in path:
            node = node[part]
        dtypes["/".join(path)] = str(node.dtype)
    return dtypes


def _check_files(folder: Path, expected: Any, weights: int) -> None:
    """Compare checksums before any array is read: Orbax loads an array with changed bits without an error.

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
    for name in found:
        if crc32(folder / name) != expected[name]:
            raise LandedError(f"{folder} is damaged, convert again: {name} is not what was written.")


def _belongs(name: str) -> bool:
    """Whether a file of a native folder would be read."""
    return name.startswith(f"{_PARAMS}/") or name in ("config.json", *TOKENIZER_FILES)


def _check_arrays(folder: Path, abstract: Params) -> None:
    """Find misfits before Orbax does: after an error in the middle of a read, its threads go on and print."""
    try:
        with quiet():
            shapes = attempt(lambda: _stored_shapes(folder))
    except StorageError as error:
        raise LandedError(f"The parameters in {folder} are damaged, convert again: {error}.") from None
    for path, leaf in jax.tree.leaves_with_path(abstract):
        name = jax.tree_util.keystr(path)
        if shapes.pop(name, None) != (leaf.shape, leaf.dtype):
            raise LandedError(
                f"The parameters in {folder} are damaged, convert again: {name} is not as the config says."
            )
    if shapes:
        raise LandedError(f"The parameters in {folder} are damaged, convert again: {min(shapes)} is left over.")


def _stored_shapes(folder: Path) -> dict[str, tuple[Any, Any]]:
    from orbax.checkpoint import v1 as ocp

    stored = ocp.metadata(str(folder)).metadata
    return {jax.tree_util.keystr(path): (x.shape, x.dtype) for path, x in jax.tree.leaves_with_path(stored)}


def _write_arrays(folder: Path, params: Params) -> None:
    """Write the arrays with Orbax; a full disk is an OSError."""
    from orbax.checkpoint import v1 as ocp

    limit, total = _bytes_in_flight(params), sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    if (free := shutil.disk_usage(folder.parent).free) < total:
        raise OSError(errno.ENOSPC, f"the weights take {human_bytes(total)}, and {human_bytes(free)} are free")
    if jax.process_count() > 1:  # Orbax takes arrays that span all processes, or NumPy arrays, which the first writes
        params = jax.tree.map(lambda leaf: np.asarray(leaf) if leaf.is_fully_addressable else leaf, params)
    context = ocp.Context()
    context.memory.write_concurrent_bytes = limit
    context.memory.transfer_concurrent_bytes = limit
    context.array.saving.use_compression = False  # float weights hardly compress, and it costs time and memory
    try:
        with quiet(), context:
            attempt(lambda: ocp.save(str(folder), params))
    except StorageError as error:
        raise OSError(None, str(error)) from None


def _bytes_in_flight(params: Params) -> int:
    """Orbax's limit: without one it makes a second copy of all leaves; with one it refuses leaves that exceed it."""
    return 1 + max(_IN_FLIGHT, *(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params)))


def _read_arrays(folder: Path, abstract: Params) -> Params:
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    context.memory.read_concurrent_bytes = _bytes_in_flight(abstract)
    try:
        with quiet(), context:
            params = attempt(lambda: ocp.load(str(folder), abstract))
    except StorageError as error:
        raise LandedError(f"The parameters in {folder} are damaged, convert again: {error}.") from None
    if any(a.dtype != b.dtype for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(abstract), strict=True)):
        # Orbax reads in its own threads, in which only the process-wide setting is in effect.
        raise LandedError("These weights are float64: set the environment variable JAX_ENABLE_X64=1 to load them.")
    return params
