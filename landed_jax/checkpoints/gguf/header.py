"""The header of a GGUF file: its metadata, and where each tensor is.

Every length that the file states is held against the file's end before anything is made of it. The package's own
`GGUFReader` trusts them (a list said to have 2⁶⁰ numbers never ends), and makes an array of each token.

References:
    https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.checkpoints.gguf.package import gguf_package
from landed_jax.errors import LandedError, shown
from landed_jax.files.kinds import is_ordinary, status_of
from landed_jax.files.wrong_content import wrong_content

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _LIST, _FLOAT32 = 8, 9, 6
# By the format's numbers: NumPy's and struct's letters agree on these.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", _FLOAT32: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# A header beyond these is no model's: each is at least eight times the largest of any published one.
_LARGEST_HEADER = 128 << 20  # bytes
_MOST_FIELDS, _MOST_TENSORS, _MOST_ITEMS = 1 << 14, 1 << 17, 1 << 23
_MOST_AXES = 4


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the file lists it.

    Attributes:
        shape: the slowest axis first, as in NumPy (the file lists the fastest first).
        kind: its type by the format's name, such as ``"Q4_K"``.
        offset: of its first byte in the file.
        size: in bytes.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    offset: int
    size: int


@dataclass(frozen=True)
class Header:
    """What stands in a GGUF file before the values of its tensors.

    Attributes:
        fields: the metadata. Numbers that are stored in 32 bits are the shortest decimals that round to them.
        tensors: by their names in the file.
    """

    file: Path
    fields: dict[str, Any]
    tensors: dict[str, TensorInfo]


def is_gguf(path: Path) -> bool:
    """Whether there is an ordinary file at `path` that begins as GGUF files do.

    Raises:
        LandedError: as `status_of` does.
    """
    found = status_of(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_header(path: Path) -> Header:
    """The header of a GGUF file.

    Raises:
        LandedError: if there is no such file, the package `gguf` is not installed, or the file is damaged, cut off, of
            another version, or one part of several.
    """
    if not is_ordinary(path):
        raise LandedError(f"There is no file {path}.")
    gguf = gguf_package()
    size = path.stat().st_size
    if (instead := wrong_content(path)) is not None and not is_gguf(path):
        raise LandedError(f"{path} is {instead}.")
    if size < 24:
        raise LandedError(f"{path} is no GGUF file: it has {size} bytes.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), min(size, _LARGEST_HEADER), access=mmap.ACCESS_READ) as data:
        try:
            return _Walk(path, data, size).header(gguf)
        except _Damaged as error:
            raise LandedError(f"{path} is damaged or cut off: {error}.") from None


class _Damaged(Exception):
    pass


class _Walk:
    """Reads values one after another, none of them beyond the file's end or the largest header's."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path, self.data, self.size = path, data, size
        self.at, self.items = 0, 0

    def header(self, gguf: Any) -> Header:
        if self._bytes(4) != MAGIC:
            raise LandedError(f"{self.path} is no GGUF file: it does not begin with {MAGIC.decode()}.")
        version = self._number("I")
        if version not in _VERSIONS:
            raise LandedError(
                f"{self.path} is of version {version} of the format, and {' and '.join(map(str, _VERSIONS))} are read "
                "(in the byte order of this machine)."
            )
        n_tensors, n_fields = self._number("Q"), self._number("Q")
        for count, most, what in ((n_tensors, _MOST_TENSORS, "tensors"), (n_fields, _MOST_FIELDS, "fields")):
            if count > most:
                raise _Damaged(f"it would have {count:,} {what}")
        fields: dict[str, Any] = {}
        for _ in range(n_fields):
            name = self._name()
            if name in fields:
                raise _Damaged(f"the field {shown(name)} is there twice")
            fields[name] = self._value(self._number("I"), name)
        listed = [self._listed() for _ in range(n_tensors)]
        step = fields.get("general.alignment", 32)
        if type(step) is not int or not 0 < step <= 1 << 20 or step & (step - 1):
            raise _Damaged(f"general.alignment is {shown(step)}, not a power of two")
        start = -(-self.at // step) * step
        tensors: dict[str, TensorInfo] = {}
        for name, shape, number, offset in listed:
            if name in tensors:
                raise _Damaged(f"the tensor {shown(name)} is there twice")
            tensors[name] = self._placed(name, shape, number, start + offset, gguf)
        return Header(self.path, fields, tensors)

    def _listed(self) -> tuple[str, tuple[int, ...], int, int]:
        name, n_axes = self._name(), self._number("I")
        if not 1 <= n_axes <= _MOST_AXES:
            raise _Damaged(f"the tensor {shown(name)} would have {n_axes:,} axes")
        axes = [self._number("Q") for _ in range(n_axes)]
        return name, tuple(reversed(axes)), self._number("I"), self._number("Q")

    def _placed(self, name: str, shape: tuple[int, ...], number: int, offset: int, gguf: Any) -> TensorInfo:
        try:
            kind = gguf.GGMLQuantizationType(number)
        except ValueError:
            raise _Damaged(f"{shown(name)} is of type {number}, which the package gguf does not know") from None
        in_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        if min(shape) < 1 or shape[-1] % in_block:
            raise _Damaged(f"{shown(name)} has shape {list(shape)}, which cannot be of type {kind.name}")
        size = math.prod(shape) // in_block * block_bytes
        if offset + size > self.size:
            raise _Damaged(f"{shown(name)} would end at byte {offset + size:,}, and the file has {self.size:,}")
        return TensorInfo(name, shape, kind.name, offset, size)

    def _value(self, kind: int, name: str) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _LIST:
            return self._list(self._number("I"), self._number("Q"), name)
        if kind not in _SCALARS:
            raise _Damaged(f"the field {shown(name)} is of type {kind}, which the format does not have")
        value = self._number(_SCALARS[kind])
        return _shortest(value) if kind == _FLOAT32 else value

    def _list(self, kind: int, count: int, name: str) -> list[Any]:
        self.items += count
        if self.items > _MOST_ITEMS:
            raise _Damaged(f"the field {shown(name)} would have {count:,} values")
        if kind == _STRING:
            return [self._text() for _ in range(count)]
        if kind not in _SCALARS:
            raise _Damaged(f"the field {shown(name)} is a list of type {kind}, which no model's file has")
        dtype = np.dtype(f"<{_SCALARS[kind]}")
        return np.frombuffer(self._bytes(count * dtype.itemsize), dtype).tolist()

    def _name(self) -> str:
        return self._text("strict")

    def _text(self, errors: str = "replace") -> str:
        length = self._number("Q")
        try:
            return self._bytes(length).decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _Damaged(f"a name at byte {self.at - length:,} is not UTF-8") from None

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack(f"<{form}", self._bytes(struct.calcsize(f"<{form}")))
        return value

    def _bytes(self, count: int) -> bytes:
        end = self.at + count
        if end > self.size:
            raise _Damaged(f"its header would go on to byte {end:,}, and the file has {self.size:,}")
        if end > _LARGEST_HEADER:
            raise _Damaged(f"its header would have more than {_LARGEST_HEADER:,} bytes")
        found, self.at = self.data[self.at : end], end
        return found


def _shortest(value: float) -> float:
    """The shortest decimal that rounds to the same number of 32 bits: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value))) if math.isfinite(value) else value
