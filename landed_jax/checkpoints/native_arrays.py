"""The arrays of a native checkpoint: Orbax pytrees, one for each part of the leaves, written and read one by one."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from landed_jax.checkpoints.orbax import StorageError, attempt, quiet
from landed_jax.errors import LandedError
from landed_jax.files.parts import Parts
from landed_jax.files.unfinished import remove
from landed_jax.memory.shortage import require_disk
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params, build_tree, leaf_at, leaf_dtypes, leaf_places
from landed_jax.nn.parameters import Path as ParamPath
from landed_jax.nn.weights_on_disk import in_memory

Shapes = dict[ParamPath, jax.ShapeDtypeStruct]

_PART = 512 << 20  # bytes of a part, unless one leaf is larger: it is in memory, and what an interruption loses
_IN_FLIGHT = 32 << 20  # bytes read or written concurrently, unless one leaf is larger


def cut_into_parts(config: ModelConfig, kinds: dict[ParamPath, np.dtype]) -> list[list[ParamPath]]:
    """The leaves in the order of the model, in parts of about 512 MiB."""
    parts: list[list[ParamPath]] = [[]]
    held = 0
    for path, leaf in leaf_places(config):
        size = math.prod(leaf.shape(config)) * kinds[path].itemsize
        if parts[-1] and held + size > _PART:
            parts.append([])
            held = 0
        parts[-1].append(path)
        held += size
    return parts


def write_parts(
    folder: Path,
    config: ModelConfig,
    params: Params,
    parts: Sequence[Sequence[ParamPath]],
    finished: Parts | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the parts that are not finished, each in a folder with its number; a full disk is an OSError.

    Args:
        finished: of the folder that `folder` is in; None where each process knows its own parts alone.
        progress: ``progress(done, total)`` in bytes.
    """
    kinds = leaf_dtypes(config, params)
    sizes = {path: math.prod(leaf.shape(config)) * kinds[path].itemsize for path, leaf in leaf_places(config)}
    names = [f"{folder.name}/{number}" for number in range(len(parts))]
    left = [name for name in names if finished is None or not finished.is_finished(name)]
    needed = sum(sizes[path] for name, part in zip(names, parts, strict=True) if name in left for path in part)
    require_disk(folder.parent, needed)
    folder.mkdir(exist_ok=True)
    done = 0
    for name, part in zip(names, parts, strict=True):
        if name in left:
            if finished is not None:
                remove(folder.parent / name)  # what an interrupted process left of it: Orbax overwrites nothing
            _write_arrays(folder.parent / name, build_tree((path, in_memory(leaf_at(params, path))) for path in part))
            if finished is not None:
                finished.finish(name)
        done += sum(sizes[path] for path in part)
        if progress is not None:
            progress(done, sum(sizes.values()))


def read_parts(folder: Path, parts: Sequence[Shapes]) -> Params:
    """The parameters, of parts that are as these shapes say, on the devices that they name.

    Raises:
        LandedError: if they are not so.
    """
    trees = [build_tree(iter(part.items())) for part in parts]
    for number, tree in enumerate(trees):
        _check_arrays(folder / str(number), tree)
    read: dict[ParamPath, jax.Array] = {}
    for number, tree in enumerate(trees):
        found = _read_arrays(folder / str(number), tree)
        read |= {tuple(key.key for key in path): leaf for path, leaf in jax.tree.leaves_with_path(found)}
    return build_tree((path, read[path]) for part in parts for path in part)


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

    limit = _bytes_in_flight(params)
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
