"""One line of a table: the name of a training program's leaf, the axes that it has there, and the way to our leaf.

The way is a part of a tensor, a reshape, a transpose, and where the program's convention folds a constant into a weight
the constant's inverse. Everything is `jax.numpy` on the array as it lies: shardings stay, and it works under `jit`.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LEAVES, Path, axis_sizes
from landed_jax.numerics import is_concrete

LAYER = "layer"
"""The axis of a leaf that holds all layers."""

_GROUPS = re.compile(r"\(([^)]*)\)|(\S+)")


@dataclass(frozen=True)
class Entry:
    """How one leaf is held.

    Attributes:
        name: the leaf's path there, with ``{layer}`` where each layer has its own.
        leaf: the path of ours in `LEAVES`.
        axes: the axes there, by our names and in their order; merged axes in parentheses.
        part: our leaf is this index of the first axis, of this size: several matrices in one tensor.
        factor, addend: ours is ``factor · theirs + addend``.
        paired: rotary embedding turns neighbouring coordinates ``2i, 2i + 1`` there; ours turns ``i, i + half``.
    """

    name: str
    leaf: str
    axes: str
    part: tuple[int, int] | None = None
    factor: float = 1.0
    addend: float = 0.0
    paired: bool = False

    def shape(self, config: ModelConfig) -> tuple[int, ...]:
        """The shape of the whole tensor there.

        >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=6, d_ff=12)
        >>> Entry("kv", "attn/W_K", "kv_head d_model head_dim", part=(0, 2)).shape(config)
        (2, 2, 8, 6)
        >>> Entry("q_proj", "attn/W_Q", "d_model (head head_dim)").shape(config)
        (8, 24)
        """
        sizes = _sizes(config)
        whole = () if self.part is None else (self.part[1],)
        return (*whole, *(math.prod(sizes[axis] for axis in axes) for axes in _groups(self.axes)))

    def paths(self, config: ModelConfig) -> list[tuple[str, Path]]:
        """The name there and the path in our tree: one, or one a layer."""
        path = tuple(self.leaf.split("/"))
        if "{layer}" in self.name:
            return [(self.name.format(layer=i), ("layers", str(i), *path)) for i in range(config.n_layers)]
        return [(self.name, ("layers", *path) if LAYER in self.axes.split() else path)]

    def ours(self, stored: Any, config: ModelConfig) -> jax.Array:
        """Our leaf from theirs; the same array where nothing is to be done.

        A constant that the type would round is applied in float32, and the leaf stays in it.

        >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=6, d_ff=12)
        >>> Entry("q_proj", "attn/W_Q", "d_model (head head_dim)").ours(jnp.ones((8, 24)), config).shape
        (4, 6, 8)
        """
        x = _on_automatic_axes(jnp.asarray(stored))
        x = x if self.part is None else x[self.part[0]]
        sizes, axes = _sizes(config), [axis for group in _groups(self.axes) for axis in group]
        if x.ndim != len(axes):
            x = x.reshape([sizes[axis] for axis in axes])
        wanted = [*([LAYER] if LAYER in axes else []), *LEAVES[self.leaf].axes]
        if wanted != axes:
            x = x.transpose([axes.index(axis) for axis in wanted])
        if self.paired:
            x = _halves(x, wanted.index("head_dim"))
        return _scaled(x, self.factor, self.addend)


def _groups(axes: str) -> list[list[str]]:
    return [(merged or single).split() for merged, single in _GROUPS.findall(axes)]


def _sizes(config: ModelConfig) -> dict[str, int]:
    return {**axis_sizes(config), LAYER: config.n_layers}


def _halves(x: jax.Array, axis: int) -> jax.Array:
    """Neighbouring pairs as two halves.

    >>> _halves(jnp.arange(6), 0).tolist()
    [0, 2, 4, 1, 3, 5]
    """
    pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
    return jnp.swapaxes(pairs, axis, axis + 1).reshape(x.shape)


def _scaled(x: jax.Array, factor: float, addend: float) -> jax.Array:
    if factor == 1 and addend == 0:
        return x
    is_exact = addend == 0 and abs(math.frexp(factor)[0]) == 0.5  # a power of two
    x = x if is_exact or x.dtype.itemsize >= 4 else x.astype(jnp.float32)
    return x * factor + addend


def _on_automatic_axes(x: jax.Array) -> jax.Array:
    """The same shards on a mesh whose axes are automatic, which `forward` needs."""
    if not is_concrete(x) or not isinstance(sharding := x.sharding, NamedSharding):
        return x
    mesh = sharding.mesh
    if not isinstance(mesh, Mesh) or set(mesh.axis_types) == {AxisType.Auto}:
        return x
    return jax.device_put(x, NamedSharding(Mesh(mesh.devices, mesh.axis_names), sharding.spec))
