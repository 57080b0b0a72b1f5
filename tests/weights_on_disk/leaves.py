"""Parameters as leaves on disk that count their reads, without any file."""

import threading
from collections import Counter
from typing import Any

import jax
import numpy as np

from landed_jax.nn.parameters import Params
from landed_jax.nn.weights_on_disk import WeightOnDisk


class Shelf:
    """Makes leaves of arrays, and knows how often each was read, by its path, and how many were held at a time."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.threads: set[str] = set()

    def on_disk(self, params: Params) -> Params:
        """The same parameters with every matrix on disk."""
        return jax.tree_util.tree_map_with_path(self._leaf, params)

    def _leaf(self, path: Any, leaf: jax.Array) -> Any:
        if leaf.ndim < 2:
            return leaf
        values, name = np.asarray(leaf), "/".join(part.key for part in path)

        def read() -> jax.Array:
            self.reads[name] += 1
            self.threads.add(threading.current_thread().name)
            return jax.device_put(values)

        def read_rows(rows: np.ndarray) -> np.ndarray:
            self.rows[name] += len(rows)
            return values[rows]

        return WeightOnDisk(values.shape, values.dtype, read, read_rows)
