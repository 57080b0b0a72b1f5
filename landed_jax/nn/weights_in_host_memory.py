"""Weights that stay in the host's memory, for an accelerator whose own does not hold them."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import SingleDeviceSharding

from landed_jax.nn.weights_on_disk import WeightOnDisk

T = TypeVar("T")


def bytes_on_disk(tree: Any) -> int:
    """Bytes of all weights of a tree that are on disk."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree) if isinstance(leaf, WeightOnDisk))


def in_host_memory(tree: T, progress: Callable[[int, int], None] | None = None) -> T:
    """The same tree with its weights read once, here, into pinned memory of the host.

    Each later reading is a copy to the device, which pinned memory allows while the device computes. Single rows are
    still read from disk.

    Args:
        progress: ``progress(done, total)`` in bytes, called after each weight.

    >>> import jax.numpy as jnp, numpy as np
    >>> values = np.arange(6, dtype="float32").reshape(3, 2)
    >>> reads = []
    >>> weight = WeightOnDisk((3, 2), values.dtype, lambda: reads.append(1) or jnp.asarray(values), values.__getitem__)
    >>> kept = in_host_memory({"W": weight})["W"]
    >>> [float(kept.read().sum()) for _ in range(3)], len(reads)
    ([15.0, 15.0, 15.0], 1)
    """
    total, done = bytes_on_disk(tree), 0

    def keep(leaf: Any) -> Any:
        nonlocal done
        if not isinstance(leaf, WeightOnDisk):
            return leaf
        value = leaf.read()
        (device,) = value.devices()
        there = value.sharding
        host = SingleDeviceSharding(device, memory_kind="pinned_host")
        kept = jax.block_until_ready(jax.device_put(value, host))  # before the next is read: one is on the device
        done += leaf.nbytes
        if progress is not None:
            progress(done, total)
        return dataclasses.replace(leaf, read=lambda: jax.device_put(kept, there))

    return jax.tree.map(keep, tree)
