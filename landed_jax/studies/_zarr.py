"""Arrays in Zarr's third format, each file put in place at once, to be synced by the caller.

The format is one JSON file an array and one file of bytes a chunk. It is written here because what a study promises
after a power cut or on a full disk rests on the order in which files reach the disk; `zarr` itself and xarray read it.

References:
    Zarr Core Specification, version 3 (metadata, chunk keys, the codecs ``bytes`` and ``vlen-utf8``).
"""

import itertools
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import write_file


def write_array(folder: Path, values: np.ndarray, dims: tuple[str, ...]) -> tuple[dict[str, Any], list[Path]]:
    """Write a whole array as one chunk, and give its metadata. Text is of variable length."""
    metadata = array_metadata(values.shape, values.dtype, dims, values.shape)
    return metadata, [write_chunk(folder, values, 0), write_metadata(folder, metadata)]


def write_chunk(folder: Path, rows: np.ndarray, number: int) -> Path:
    """Write one chunk along the first axis: `rows` is as large as a chunk."""
    key = folder / "c" / Path(*map(str, (number, *(0,) * (rows.ndim - 1)))) if rows.ndim else folder / "c"
    _make_folder(key.parent)
    write_file(key, _bytes(rows), sync=False)
    return key


def write_metadata(folder: Path, metadata: dict[str, Any]) -> Path:
    """Write an array's metadata."""
    return _write_json(folder / "zarr.json", metadata)


def write_group(folder: Path, attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> Path:
    """Write the group's metadata, with that of all arrays in it, so that a reader lists no folders.

    Args:
        arrays: metadata by the names of the arrays.
    """
    consolidated = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(arrays.items()))}
    group = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    return _write_json(folder / "zarr.json", {**group, "consolidated_metadata": consolidated})


def array_metadata(
    shape: tuple[int, ...], dtype: np.dtype, dims: tuple[str, ...], chunk: tuple[int, ...]
) -> dict[str, Any]:
    """The metadata of an array.

    >>> array_metadata((3,), np.dtype("f4"), ("prompt",), (2,))["chunk_grid"]["configuration"]
    {'chunk_shape': [2]}
    """
    is_text, is_float = dtype.kind == "U", dtype.kind == "f"
    codec = {"name": "vlen-utf8"} if is_text else {"name": "bytes", "configuration": {"endian": "little"}}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "string" if is_text else dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(size, 1) for size in chunk]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "" if is_text else "NaN" if is_float else 0,
        "codecs": [codec],
        "attributes": {},
        "dimension_names": list(dims),
    }


def read_array(folder: Path, metadata: Mapping[str, Any]) -> np.ndarray:
    """An array of numbers that these functions wrote, or all of its chunks that there are."""
    dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
    shape, chunk = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
    parts = []
    for number in itertools.count():
        if shape and number * chunk[0] >= shape[0]:
            break
        key = folder / "c" / Path(*map(str, (number, *(0,) * (len(shape) - 1)))) if shape else folder / "c"
        try:
            data = key.read_bytes()
        except OSError as error:
            raise LandedError(f"{key} cannot be read: {error.strerror or error}.") from None
        if len(data) != dtype.itemsize * int(np.prod(chunk)):
            raise LandedError(f"{key} is damaged: it has {len(data):,} bytes.")
        parts.append(np.frombuffer(data, dtype).reshape(chunk))
        if not shape:
            return parts[0].astype(dtype.newbyteorder("="))
    found = np.concatenate(parts)[: shape[0]] if parts else np.zeros(shape, dtype)
    return found.astype(dtype.newbyteorder("="))


def _bytes(values: np.ndarray) -> bytes:
    if values.dtype.kind != "U":
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in values.ravel().tolist()]
    return struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _write_json(path: Path, value: Mapping[str, Any]) -> Path:
    _make_folder(path.parent)
    write_file(path, json.dumps(value, indent=1, ensure_ascii=False).encode(), sync=False)
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LandedError(f"{folder} cannot be written: {error.strerror or error}.") from error
