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

# The axes of parameters, and of what a model computes, that a mesh cuts, and over which of its axes; of one array, only
# the first that divides evenly goes over ``model``. Positions are whole on every device: attention, and the search for
# the largest writes, look at all of them. Experts are whole too, and each one's neurons are cut: every device computes
# a part of what each position chose, and neither weights nor positions are sent.
CUT = {
    "batch": DATA,
    "vocab": MODEL,
    "head": MODEL,
    "kv_head": MODEL,
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
    >>> tuple(cut(("batch", "position", "neuron"), (2, 5, 12), mesh_of("data=1,model=1")))
    ('data', None, 'model')
    """
    shards, spec = dict(mesh.shape), []
    for axis, size in zip(axes, sizes, strict=True):
        over = CUT.get(axis)
        fits = over in shards and over not in spec and size % shards[over] == 0
        spec.append(over if fits else None)
    return PartitionSpec(*spec)


def leaf_sharding(leaf: Leaf, config: ModelConfig, mesh: Mesh, stacked: bool = False) -> NamedSharding:
    """How one leaf is cut over the mesh axis ``model``.

    Heads, key heads, neurons (of each expert) and the vocabulary are cut where their number divides evenly; everything
    else, and everything on a mesh without that axis, is whole on every device.

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


def mesh_under(params: Params) -> Mesh | None:
    """The mesh that parameters lie on; None where they lie on none, or under ``jit``, where that is not known."""
    first = jax.tree.leaves(params)[0]
    known = isinstance(first, jax.Array) and is_concrete(first)
    mesh = first.sharding.mesh if known and isinstance(first.sharding, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) else None


def beside(params: Params, arrays: T) -> T:
    """Arrays whose first axis is the prompts', on the mesh that the parameters lie on; without one, as they are."""
    mesh = mesh_under(params)
    if mesh is None:
        return arrays

    def placed(array: Any) -> jax.Array:
        axes = ("batch", *("",) * (array.ndim - 1))
        return jax.device_put(array, NamedSharding(mesh, cut(axes, array.shape, mesh)))

    return jax.tree.map(placed, arrays)
