"""Where each parameter lies on a mesh: one table of axes, read by every loader."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from landed_jax.mesh import MODEL as MESH_AXIS
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LAYER_LEAVES, LEAVES, Leaf, Params, abstract_params, axis_sizes

SHARDED = ("vocab", "head", "kv_head", "expert", "d_ff")


def cut_axis(leaf: Leaf, config: ModelConfig, shards: int) -> str | None:
    """The axis of one leaf that is cut into `shards` parts: the first of `SHARDED` that divides evenly, if any."""
    sizes = axis_sizes(config)
    return next((axis for axis in leaf.axes if axis in SHARDED and sizes[axis] % shards == 0), None)


def leaf_sharding(leaf: Leaf, config: ModelConfig, mesh: Mesh, stacked: bool = False) -> NamedSharding:
    """How one leaf is cut over the mesh axis ``model``.

    Heads, key heads, experts, neurons and the vocabulary are cut where their number divides evenly, of a leaf with
    several such axes the first; everything else, and everything on a mesh without that axis, is replicated.

    Args:
        stacked: whether layer leaves carry a leading layer axis.
    """
    shards = dict(mesh.shape).get(MESH_AXIS)
    cut = cut_axis(leaf, config, shards) if shards else None
    spec = [MESH_AXIS if axis == cut else None for axis in leaf.axes]
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
