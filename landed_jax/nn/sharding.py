"""Where parameters and values lie on a mesh: one table of axes, read by loaders and by results."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from landed_jax.mesh import DATA, MODEL
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LAYER_LEAVES, LEAVES, Leaf, Params, abstract_params, axis_sizes
from landed_jax.numerics import is_concrete

T = TypeVar("T")

# The axes of parameters, and of what a model computes, that a mesh cuts, and over which of its axes. Of one array only
# one axis goes over ``model``, the first that divides evenly. Positions are whole on every device: attention, and the
# search for the largest writes, look at all of them.
CUT = {
    "batch": DATA,
    "vocab": MODEL,
    "head": MODEL,
    "kv_head": MODEL,
    "expert": MODEL,
    "d_ff": MODEL,
    "neuron": MODEL,
}


def cut_axis(leaf: Leaf, config: ModelConfig, shards: int) -> str | None:
    """The axis of one leaf that is cut into `shards` parts over ``model``, if any."""
    sizes = axis_sizes(config)
    return next((axis for axis in leaf.axes if CUT.get(axis) == MODEL and sizes[axis] % shards == 0), None)


def cut(axes: Sequence[str], sizes: Sequence[int], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """How an array with named axes is cut over a mesh, by `CUT`.

    >>> from landed_jax.mesh import mesh_of
    >>> cut(("batch", "position", "neuron"), (2, 5, 12), mesh_of("data=1,model=1"))
    PartitionSpec('data', None, 'model')
    """
    shards, spec = dict(mesh.shape), []
    for axis, size in zip(axes, sizes, strict=True):
        over = CUT.get(axis)
        fits = over in shards and over not in spec and size % shards[over] == 0
        spec.append(over if fits else None)
    return PartitionSpec(*spec)


def leaf_sharding(leaf: Leaf, config: ModelConfig, mesh: Mesh, stacked: bool = False) -> NamedSharding:
    """How one leaf is cut over the mesh axis ``model``.

    Heads, key heads, experts, neurons and the vocabulary are cut where their number divides evenly, of a leaf with
    several such axes the first; everything else, and everything on a mesh without that axis, is replicated.

    Args:
        stacked: whether layer leaves carry a leading layer axis.
    """
    sizes = axis_sizes(config)
    spec = list(cut(leaf.axes, [sizes[axis] for axis in leaf.axes], mesh))
    if stacked and leaf in LAYER_LEAVES:
        spec.insert(0, None)
    # On an explicit mesh (what jax.make_mesh gives) every product of two cut arrays would have to say how its result
    # is cut; on the same devices with automatic axes the compiler decides.
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names), PartitionSpec(*spec))


def abstract_on_mesh(config: ModelConfig, mesh: Mesh, dtype: Any, stacked: bool = True) -> Params:
    """The parameters' shapes and how each is cut over the mesh."""

    def placed(path: tuple[Any, ...], shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        names = [part.key for part in path]
        in_layers = names[0] == "layers"
        leaf = LEAVES["/".join(names[-2:])]
        sharding = leaf_sharding(leaf, config, mesh, stacked and in_layers)
        return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)

    return jax.tree.map_with_path(placed, abstract_params(config, dtype, stacked))


def beside(params: Params, arrays: T) -> T:
    """Arrays whose first axis is the prompts', on the mesh that the parameters lie on; without one, as they are."""
    first = jax.tree.leaves(params)[0]
    known = isinstance(first, jax.Array) and is_concrete(first)
    mesh = first.sharding.mesh if known and isinstance(first.sharding, NamedSharding) else None
    if not isinstance(mesh, Mesh):
        return arrays

    def placed(array: Any) -> jax.Array:
        axes = ("batch", *("",) * (array.ndim - 1))
        return jax.device_put(array, NamedSharding(mesh, cut(axes, array.shape, mesh)))

    return jax.tree.map(placed, arrays)
