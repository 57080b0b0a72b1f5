"""Weights that stay in their files: leaves of a parameter tree that are read when a computation comes to them.

Programs under `by_layers` read them a layer ahead of the computation. Everything else asks for `in_memory`, which
reads them at once. JAX itself is given none: inside of a user's own transform all of them would have to be in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landed_jax.errors import LandedError
from landed_jax.shapes import shape_text

T = TypeVar("T")

_NOT_IN_MEMORY = (
    "These weights stay on disk (stream), and a program of JAX needs them in memory: call the package's "
    "functions outside of jit, vmap and grad, or load the model without stream."
)


@dataclass(frozen=True, eq=False, repr=False)
class WeightOnDisk:
    """One leaf, by its shape and type, and how it is read. It looks like an array as far as that needs no values.

    Attributes:
        read: all of it, as an array of JAX.
        read_rows: these rows of it, in this order, as an array of NumPy.

    >>> values = np.arange(6, dtype="float32").reshape(3, 2)
    >>> weight = WeightOnDisk((3, 2), values.dtype, lambda: jnp.asarray(values), values.__getitem__)
    >>> weight, weight[2].tolist()
    (f32[3,2] on disk, [4.0, 5.0])
    >>> jax.jit(jnp.sum)(weight)
    Traceback (most recent call last):
    landed_jax.errors.LandedError: These weights stay on disk (stream), and a program of JAX needs ...
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], jax.Array]
    read_rows: Callable[[np.ndarray], np.ndarray]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def abstract(self) -> jax.ShapeDtypeStruct:
        """What a program that takes it is traced with."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    def __getitem__(self, index: Any) -> jax.Array:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, int | np.integer):
            if not -len(self) <= first < len(self):  # which also ends a loop over the rows
                raise IndexError(f"There is no row {first}: there are {len(self)}.")
            return jax.device_put(self.read_rows(np.array([first % len(self)]))[0][tuple(rest)])
        return self.read()[index]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.read(), dtype)

    @property
    def __jax_array__(self) -> Any:
        """What JAX looks for in an argument that it does not know."""
        raise LandedError(_NOT_IN_MEMORY)

    def __repr__(self) -> str:
        return f"{shape_text(self)} on disk"


def in_memory(tree: T) -> T:
    """The same tree with the weights that are on disk read.

    Raises:
        LandedError: inside of a trace, which would keep them for good.
    """
    return jax.tree.map(_read, tree)


def _read(leaf: Any) -> Any:
    if not isinstance(leaf, WeightOnDisk):
        return leaf
    if isinstance(jnp.zeros(()), Tracer):  # inside of jit
        raise LandedError(_NOT_IN_MEMORY)
    return leaf.read()


def abstract(tree: T) -> T:
    """The same tree with shapes in the place of weights that are on disk."""
    return jax.tree.map(lambda leaf: leaf.abstract if isinstance(leaf, WeightOnDisk) else leaf, tree)


def any_on_disk(tree: Any) -> bool:
    """Whether weights of a tree are on disk."""
    return any(isinstance(leaf, WeightOnDisk) for leaf in jax.tree.leaves(tree))
