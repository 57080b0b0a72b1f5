"""Tensors of a GGUF file as those of the checkpoint that it was made from, dequantised as they are read."""

import functools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from landed_jax.checkpoints.gguf.architectures import ROTARY_TABLES, Architecture, Change
from landed_jax.checkpoints.gguf.header import Header, TensorInfo
from landed_jax.checkpoints.gguf.package import gguf_package
from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.files import Found, Stored
from landed_jax.checkpoints.hf.table import Index
from landed_jax.errors import LandedError

_PIECE = 1 << 18  # values that are dequantised at a time: fast, and small beside a layer


@dataclass(frozen=True)
class Packed(Stored):
    """A tensor of a GGUF file, under the name that it has there and with the checkpoint's shape.

    Attributes:
        dtype: what its values become: its own type where that is a float, or the one that the user chose.
        info: how it is stored.
        change: what reading it has to undo.
        heads: how many heads the rows of a ``paired`` tensor are of.
    """

    info: TensorInfo
    change: Change = "none"
    heads: int = 1

    def read(self, index: Index) -> np.ndarray:
        """A slice of the tensor, in the checkpoint's order. Memory use is the slice and about 10 MiB."""
        full = [slice(*cut.indices(size)[:2]) for cut, size in zip(index, self.shape, strict=False)]
        full += [slice(0, size) for size in self.shape[len(full) :]]
        out = np.empty([cut.stop - cut.start for cut in full], FLOATS[self.dtype])
        with np.errstate(over="ignore", invalid="ignore"):  # the reader counts what is not finite
            if len(self.shape) == 1:
                self._read_vector(out, full[0])
            elif self.change == "transposed":
                for rows, values in self._pieces(full[1]):
                    out[:, rows.start - full[1].start : rows.stop - full[1].start] = values[:, full[0]].T
            else:
                self._read_matrix(out, *full)
        return out

    def _read_matrix(self, out: np.ndarray, rows: slice, columns: slice) -> None:
        size = self.shape[0] // self.heads
        # Of paired rows those of whole heads: the others of a head may be anywhere in it.
        stored = slice(rows.start // size * size, -(-rows.stop // size) * size) if self.change == "paired" else rows
        for piece, values in self._pieces(stored):
            places = np.arange(piece.start, piece.stop)
            if self.change == "paired":
                places = _unpaired(places, size)
            wanted = (places >= rows.start) & (places < rows.stop)
            out[places[wanted] - rows.start] = values[wanted][:, columns]

    def _read_vector(self, out: np.ndarray, part: slice) -> None:
        for _, values in self._pieces(slice(0, 1)):
            whole = values[0]
            if self.change == "paired":
                whole = np.empty_like(whole)
                whole[_unpaired(np.arange(whole.size), whole.size // self.heads)] = values[0]
            elif self.change == "plus_one":
                whole = whole.astype(np.float64) - 1  # rounded once, to the leaf's type
            out[...] = whole[part]

    def _pieces(self, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """The values of these rows of the file, some rows at a time."""
        n_rows, width = (1, self.info.shape[0]) if len(self.info.shape) == 1 else self.info.shape
        row_bytes = self.info.size // n_rows
        step = max(1, _PIECE // width)
        with self.file.open("rb") as file:
            for start in range(rows.start, rows.stop, step):
                stop = min(start + step, rows.stop)
                file.seek(self.info.offset + start * row_bytes)
                raw = file.read((stop - start) * row_bytes)
                if len(raw) < (stop - start) * row_bytes:
                    raise LandedError(f"{self.file} became shorter while it was read.")
                yield slice(start, stop), dequantised(raw, self.info.kind).reshape(-1, width)


def _unpaired(places: np.ndarray, size: int) -> np.ndarray:
    """Where rows of heads of `size` belong: pair i is stored as 2i, 2i + 1 and belongs at i, i + size/2.

    >>> _unpaired(np.arange(8), 4)
    array([0, 2, 1, 3, 4, 6, 5, 7])
    """
    head, row = np.divmod(places, size)
    return head * size + row % 2 * (size // 2) + row // 2


def dequantised(raw: bytes, kind: str) -> np.ndarray:
    """The values of whole blocks, flat: in their own type where that is a float, in float32 otherwise."""
    data = np.frombuffer(raw, np.uint8)
    if kind in FLOATS:
        return data.view(FLOATS[kind])
    gguf = gguf_package()
    return gguf.dequantize(data[None], gguf.GGMLQuantizationType[kind])[0]


def find_packed(header: Header, architecture: Architecture, heads: dict[str, int], dtype: str | None) -> Found:
    """The tensors of a file by the checkpoint's names; what has none there is a fault.

    Args:
        heads: how many there are, of ``attn_q`` and of ``attn_k``.
        dtype: what all values become, as safetensors spells it; None for float32, and for floats as they are.
    """
    found = Found()
    for name, info in header.tensors.items():
        if name in ROTARY_TABLES:
            continue
        if (hf_name := architecture.hf_name(name)) is None:
            found.causes.append(f"{name} {list(info.shape)} is left over: this model has no such tensor")
            continue
        change = architecture.change(name)
        shape = info.shape[::-1] if change == "transposed" else info.shape
        kind = dtype or _read_as(info.kind)
        if not _is_readable(info.kind):
            kind = info.kind  # the survey refuses it by this name
        n_heads = next((count for part, count in heads.items() if f".{part}." in name), 1)
        if change == "paired" and (len(shape) > 2 or info.shape[0] % (2 * n_heads)):
            change = "none"  # its shape is refused too
        found.tensors[hf_name] = Packed(name, header.file, kind, shape, info, change, n_heads)
    return found


def values_of(header: Header, name: str) -> np.ndarray:
    """All values of a small tensor, as float32."""
    info = header.tensors[name]
    return Packed(name, header.file, "F32", info.shape, info).read((slice(None),))


@functools.cache
def _is_readable(kind: str) -> bool:
    if kind in FLOATS:
        return True
    gguf = gguf_package()
    number = gguf.GGMLQuantizationType[kind]
    try:
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[number][1]), np.uint8), number)
    except NotImplementedError:  # what the package raises for a type that it cannot dequantise
        return False
    return True


def dtype_read(header: Header) -> str:
    """The float type that most values of a file are read into where none is chosen."""
    counts: Counter[str] = Counter()
    for info in header.tensors.values():
        counts[_read_as(info.kind)] += math.prod(info.shape)
    return str(FLOATS[counts.most_common(1)[0][0]]) if counts else "float32"


def _read_as(kind: str) -> str:
    return kind if kind in FLOATS else "F32"
