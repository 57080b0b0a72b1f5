"""Opening models: `load`, `convert`, and what is read without weights."""

import os
from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

import jax
from jax.sharding import Mesh

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.checkpoints.gguf.header import is_gguf, read_header
from landed_jax.checkpoints.gguf.tensors import dtype_read
from landed_jax.checkpoints.hf.adapter import NONE
from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.files import check_inside
from landed_jax.checkpoints.hf.hub import named, resolve, resolve_adapter
from landed_jax.checkpoints.hf.reader import Progress
from landed_jax.checkpoints.hf.writer import save_hf
from landed_jax.checkpoints.job import job_of
from landed_jax.checkpoints.native import is_native, read_manifest, save_native
from landed_jax.checkpoints.notes import Notes
from landed_jax.checkpoints.opening import Reading, check_folder, open_folder, open_vocabulary_of, read_config_of
from landed_jax.errors import LandedError, Refusal
from landed_jax.exchange import all_or_none, spans
from landed_jax.files.atomic_folder import check_destination
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import expanded
from landed_jax.memory.host import cpu_device, default_platform, free_host_memory
from landed_jax.mesh import check_mesh
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.schedule import PLAIN
from landed_jax.nn.weights_in_host_memory import bytes_on_disk, in_host_memory
from landed_jax.numerics import check_precision

_HOST_SHARE = 0.7  # of the host's free memory, that weights for an accelerator may take


def load(
    source: str | os.PathLike[str] = BUNDLED,
    *,
    mesh: Mesh | None = None,
    stacked: bool | None = None,
    progress: Progress | None = None,
    ignore_fields: Collection[str] = (),
    adapter: str | os.PathLike[str] | None = None,
    dtype: Any = None,
    precision: str | None = None,
    stream: bool = False,
) -> Model:
    """Open a model.

    Where a checkpoint is read otherwise than its files say, a `LandedWarning` says so, and ``model.notes`` and all
    results record it.

    Args:
        source: a Hugging Face id (``owner/name``, or ``owner/name@revision``), a folder in Hugging Face layout, a
            native folder, or a GGUF file, of which those may lie in an object store (``gs://bucket/folder``); by
            default the small model that comes with the package.
        mesh: place the weights on it: heads, neurons and the vocabulary are cut over its axis ``model``. If it has
            devices of several processes, all of these open the model, or none does.
        stacked: hold the layers under one leading axis (the time to compile then does not grow with depth), or one
            subtree a layer (faster to run on CPU); by default whichever suits the device.
        progress: ``progress(done, total)`` in bytes, called as a Hugging Face checkpoint is read.
        ignore_fields: names of fields of config.json that the package does not know, to be read as if they were absent.
        adapter: a LoRA adapter to merge into the weights as they are read: a folder or a Hugging Face id. "none" leaves
            out one that lies beside the weights, which otherwise is refused.
        dtype: what the weights of a GGUF file become: float32, bfloat16 or float16; by default float32, and floats
            stay as they are. Other checkpoints are read in their own types.
        precision: of the model's products, as `Model.with_precision` takes it; by default float32, or float64 under
            ``JAX_ENABLE_X64=1``.
        stream: leave the weights on disk, for a model that is larger than the memory: layers are read one after
            another while the layer before computes, in each pass again, and two of them are in memory at a time. Of a
            checkpoint in Hugging Face layout or a GGUF file, on one device. An accelerator is given them from pinned
            memory of the host, where that holds them, and else from disk. Inside ``jit``, ``vmap`` and ``grad`` of
            your own the weights cannot be used.

    Raises:
        LandedError: if it cannot be opened; the message lists the reasons.

    >>> model = load()
    >>> trace = model.trace("The Colosseum is in the city of", at=-1)
    >>> model.vocabulary.text(trace.logits[0, -1].argmax())
    ' Rome'
    """
    if precision is not None:
        check_precision(precision)
    if mesh is not None:
        check_mesh(mesh)
    with all_or_none("load") if mesh is not None and spans(mesh) else nullcontext():
        model = _loaded(source, mesh, stacked, progress, Reading(ignore_fields, adapter, dtype), stream)
        return model if precision is None else model.with_precision(precision)


def _loaded(
    source: str | os.PathLike[str],
    mesh: Mesh | None,
    stacked: bool | None,
    progress: Progress | None,
    reading: Reading,
    stream: bool,
) -> Model:
    folder, notes = resolve(source), Notes()
    platform = mesh.devices.flat[0].platform if mesh is not None else default_platform()
    layout = platform != "cpu" and not stream if stacked is None else stacked
    if stream and (refused := _why_not_streamed(mesh, layout)):
        raise LandedError(f"Weights are streamed to one device, layer by layer: {refused}.")
    config, params = open_folder(folder, reading, notes, mesh=mesh, stacked=layout, progress=progress, stream=stream)
    if stream and platform != "cpu" and bytes_on_disk(params) <= free_host_memory() * _HOST_SHARE:
        params = in_host_memory(params, progress)
    vocabulary, no_vocabulary = open_vocabulary_of(folder, notes)
    notes.give_warnings()
    return Model(config, params, vocabulary, named(source), folder, tuple(notes.texts), no_vocabulary)


def _why_not_streamed(mesh: Mesh | None, stacked: bool) -> str:
    if mesh is not None:
        return "leave mesh= out"
    if stacked:
        return "leave stacked= out, which holds all layers in one array"
    return "unset LANDED_PLAIN, whose programs are of all layers" if PLAIN else ""


def read_config(
    source: str | os.PathLike[str], *, ignore_fields: Collection[str] = ()
) -> tuple[ModelConfig, str | None]:
    """A model's config, read without its weights, and the float type of the weights where its files state it.

    Raises:
        LandedError: if there is no such model, or its config is not supported.
    """
    folder, notes = resolve(source, config_only=True), Notes()
    if is_native(folder):
        return read_manifest(folder)
    config = read_config_of(folder, Reading(ignore_fields), notes)
    notes.give_warnings()
    if is_gguf(folder):
        return config, dtype_read(read_header(folder))
    values = read_json_object(folder / "config.json")
    dtype = values.get("dtype") or values.get("torch_dtype")
    return config, dtype if isinstance(dtype, str) and dtype in map(str, FLOATS.values()) else None


def check(
    source: str | os.PathLike[str],
    *,
    ignore_fields: Collection[str] = (),
    adapter: str | os.PathLike[str] | None = None,
) -> str:
    """Read a model as `load` does, every value too, and keep nothing. Needs no device.

    Returns:
        Why the model has no tokenizer, so that it takes ids only; "" where it has one.

    Raises:
        LandedError: for what keeps it from being opened; `error.problems` of a `Refusal` has all reasons.
    """
    folder, notes = resolve(source), Notes()
    check_folder(folder, Reading(ignore_fields, adapter), notes)
    _, without_text = open_vocabulary_of(folder, notes)
    notes.give_warnings()
    return without_text


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    ignore_fields: Collection[str] = (),
    adapter: str | os.PathLike[str] | None = None,
    dtype: Any = None,
    hf: bool = False,
) -> None:
    """Write the model `src` as the native folder `dst`, or as one in Hugging Face layout, atomically.

    Of a checkpoint in Hugging Face layout or a GGUF file about a gibibyte is in memory at a time, or the largest tensor
    twice where that is more; of a native folder all of it. What an interrupted conversion has finished lies under a
    hidden name beside `dst`, and the same call goes on with it; another call for `dst`, or an error, removes it. Under
    `jax.distributed` all processes call it, the first writes, and it begins anew.

    Args:
        progress, ignore_fields, adapter, dtype: as for `load`; the new folder records what was ignored and merged.
        hf: write Hugging Face layout, which other programs read.

    Raises:
        LandedError: if `src` cannot be opened or contains links to files elsewhere, or `dst` exists, is being written
            by another process or thread, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     convert("bundled", f"{folder}/native")
    ...     load(f"{folder}/native").config.n_layers
    4
    """
    dst = expanded(dst)
    with jax.default_device(cpu_device()):
        with all_or_none("convert"):
            check_destination(dst)
            folder, notes = resolve(src), Notes()
            check_inside(folder)
            reading, native = Reading(ignore_fields, adapter, dtype), is_native(folder)
            config, params = open_folder(
                folder, reading, notes, mesh=None, stacked=False, progress=None, stream=not native
            )
            merged = [] if adapter in (None, NONE) else [resolve_adapter(adapter)]
            job = job_of([folder, *merged], sorted(ignore_fields), str(adapter), str(dtype), hf)
        notes.give_warnings()
        try:
            if hf:
                save_hf(dst, config, params, folder, job=job, progress=progress)
            else:
                save_native(dst, config, params, folder, notes.texts, job=job, progress=progress)
        except Refusal:  # of the first weight that cannot be read
            if not native:
                check_folder(folder, reading, Notes())  # says which these are
            raise
