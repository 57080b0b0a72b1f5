"""Finished chunks of a sweep in a folder, so that an interrupted one goes on."""

import hashlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import write_file
from landed_jax.files.kinds import expanded

_MARK = "sweep.sha256"
_IMPORTED = re.compile(r"<function ([\w.]+) at 0x[0-9a-f]+>")  # not <lambda>, and nothing within <locals>


@dataclass(frozen=True)
class Saved:
    """A folder with a file for each finished chunk, or none."""

    folder: Path | None

    @classmethod
    def of(cls, out: str | os.PathLike[str] | None, *asked: Any) -> "Saved":
        """The folder, made where it is not there.

        Args:
            asked: all that the numbers depend on.

        Raises:
            LandedError: for a folder that holds another sweep's chunks, or that cannot be written.
        """
        if out is None:
            return cls(None)
        folder, mark = expanded(out), digest(asked).encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            there = (folder / _MARK).read_bytes() if (folder / _MARK).exists() else None
        except OSError as error:
            raise LandedError(f"{folder} cannot hold a sweep: {error.strerror or error}.") from error
        if there is None and any(folder.iterdir()):
            raise LandedError(f"{folder} holds other files: name a new folder for the sweep.")
        if there not in (None, mark):
            raise LandedError(f"{folder} holds the chunks of another sweep: name another folder, or remove it.")
        if there is None:
            write_file(folder / _MARK, mark)
        return cls(folder)

    def get(self, places: Sequence[int]) -> list[np.ndarray] | None:
        """The arrays of a chunk that was finished, whole."""
        if self.folder is None or not (path := self._path(places)).exists():
            return None
        seal, _, data = path.read_bytes().partition(b"\n")
        if hashlib.sha256(data).hexdigest().encode() != seal:
            return None  # damaged: computed again
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return [arrays[name] for name in sorted(arrays.files)]

    def put(self, places: Sequence[int], arrays: Sequence[np.ndarray]) -> None:
        """Keep a chunk's arrays."""
        if self.folder is None or (path := self._path(places)).exists():
            return
        file = io.BytesIO()
        np.savez(file, *arrays)
        data = file.getvalue()
        write_file(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)

    def _path(self, places: Sequence[int]) -> Path:
        assert self.folder is not None
        return self.folder / f"{digest(tuple(places))[:16]}.npz"


def digest(value: Any) -> str:
    """A checksum of a tree: its structure, and every number in it; the same in another process.

    A function that can be imported counts by its name. Any other is known by where it lies in memory alone.
    """
    leaves, tree = jax.tree.flatten(value)
    seen = hashlib.sha256(_IMPORTED.sub(r"<function \1>", str(tree)).encode())
    for leaf in leaves:
        array = np.asarray(leaf) if not isinstance(leaf, str) else np.frombuffer(leaf.encode(), np.uint8)
        seen.update(f"{array.dtype} {array.shape} ".encode())
        seen.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return seen.hexdigest()
