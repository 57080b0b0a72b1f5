"""Values of circuits that were found before, by what the circuits keep: in memory, and in a folder for the next run."""

import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from landed_jax.interventions._saved import Saved
from landed_jax.numerics import compute_dtype

SECONDS = 5.0
"""How much work an interruption may lose."""


@dataclass
class Finished:
    """The values of circuits on one batch of prompts."""

    saved: Saved
    known: dict[bytes, np.ndarray] = field(default_factory=dict)
    _new: list[bytes] = field(default_factory=list)
    _parts: int = 0
    _since: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, out: str | os.PathLike[str] | None, *asked: Any) -> "Finished":
        """What a folder holds; see `Saved.of`."""
        finished = cls(Saved.of(out, *asked))
        while (part := finished.saved.get((finished._parts,))) is not None:
            keys, values = part
            finished.known |= {key.tobytes(): value for key, value in zip(keys, values, strict=True)}
            finished._parts += 1
        return finished

    def missing(self, masks: Bool[np.ndarray, "circuit *any"]) -> list[int]:
        """The places of the circuits that are not known, each once."""
        places = {_key(mask): place for place, mask in enumerate(masks)}
        return sorted(place for key, place in places.items() if key not in self.known)

    def get(self, masks: Bool[np.ndarray, "circuit *any"]) -> Float[np.ndarray, "circuit batch"]:
        """The values of circuits of which none is missing."""
        return np.stack([self.known[_key(mask)] for mask in masks])

    def put(self, mask: Bool[np.ndarray, "*any"], value: Float[np.ndarray, " batch"]) -> None:
        """Keep a value; in the folder, once `SECONDS` have passed since the last ones were written."""
        self._new.append(_key(mask))
        self.known[self._new[-1]] = np.asarray(value)
        if time.monotonic() - self._since > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if self._new:
            keys = np.stack([np.frombuffer(key, np.uint8) for key in self._new])
            self.saved.put((self._parts,), [keys, np.stack([self.known[key] for key in self._new])])
            self._parts += 1
        self._new, self._since = [], time.monotonic()


def dtype_key(dtype: Any) -> tuple[str, ...]:
    """What a folder's key says of the type that numbers are computed in: nothing for float32, else its name.

    >>> dtype_key("float32")
    ()
    """
    name = compute_dtype(dtype).name
    return () if name == "float32" else (name,)


def _key(mask: np.ndarray) -> bytes:
    return hashlib.sha256(np.packbits(mask).tobytes()).digest()
