"""Where each parameter lies on a mesh: one table of axes, read by every loader."""

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LAYER_LEAVES, Leaf, axis_sizes

MESH_AXIS = "model"
SHARDED = ("vocab", "head", "kv_head", "expert", "d_ff")


def leaf_sharding(leaf: Leaf, config: ModelConfig, mesh: Mesh, stacked: bool = False) -> NamedSharding:
    """How one leaf is cut over the mesh axis ``model``.

    Heads, key heads, experts, neurons and the vocabulary are cut where their number divides evenly, of a leaf with
    several such axes the first; everything else, and everything on a mesh without that axis, is replicated.

    Args:
        stacked: whether layer leaves carry a leading layer axis.
    """
    shards = dict(mesh.shape).get(MESH_AXIS)
    sizes = axis_sizes(config)
    cut = [axis for axis in leaf.axes if shards and axis in SHARDED and sizes[axis] % shards == 0]
    spec = [MESH_AXIS if axis in cut[:1] else None for axis in leaf.axes]
    if stacked and leaf in LAYER_LEAVES:
        spec.insert(0, None)
    # On an explicit mesh (what jax.make_mesh gives) every product of two cut arrays would have to say how its result
    # is cut; on the same devices with automatic axes the compiler decides.
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names), PartitionSpec(*spec))
