"""Estimates of the memory that a call needs, from shapes alone: no weights are read and no program runs."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import jax

from landed_jax.errors import LandedError, shown
from landed_jax.memory.host import device_memory
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import WRITES, HookPoint, as_sites, axes_of, has
from landed_jax.nn.parameters import Params
from landed_jax.nn.weights_on_disk import WeightOnDisk
from landed_jax.numerics import compute_dtype, is_concrete


def trace_bytes(
    config: ModelConfig,
    *,
    batch: int = 1,
    length: int,
    positions: int | None = None,
    record: Iterable[HookPoint] = WRITES,
    dtype: Any = None,
) -> dict[str, int]:
    """Bytes of the logits and of every recorded value that a trace keeps.

    Args:
        length: tokens a prompt.
        positions: how many of them are recorded; by default all.

    Raises:
        LandedError: for sizes below 1 or of more than 31 bits, or more positions than tokens.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> trace_bytes(config, length=3, dtype="float32")["neuron"]
    288
    """
    for name, size in (("batch", batch), ("length", length), ("positions", positions)):
        if size is not None and not 1 <= size < 2**31:
            raise LandedError(f"{name}={shown(size)} is no number of them: give at least 1, and less than 2**31.")
    if positions is not None and positions > length:
        raise LandedError(f"There are {length} positions to look at, not {positions}.")
    size = compute_dtype(dtype).itemsize
    positions = length if positions is None else positions
    axes = {
        "layer": config.n_layers,
        "batch": batch,
        "position": positions,
        "source": length,
        "d_model": config.d_model,
        "head": config.n_heads,
        "kv_head": config.n_kv_heads,
        "head_dim": config.head_dim,
        "neuron": config.n_neurons,
        "slot": config.experts_per_token,
        "expert": config.n_experts,
        "vocab": config.vocab_size,
    }
    values = {site.value: axes_of(site) for site in sorted(as_sites(record)) if has(config, site)}
    values["logits"] = ("batch", "position", "vocab")
    sizes = {HookPoint.EXPERT.value: 4}  # whole numbers
    return {name: sizes.get(name, size) * math.prod(axes[axis] for axis in kinds) for name, kinds in values.items()}


def attribution_bytes(
    config: ModelConfig,
    *,
    batch: int = 1,
    length: int,
    positions: int | None = None,
    effects: bool = False,
    dtype: Any = None,
) -> dict[int, int]:
    """Estimated bytes that `attribute_streaming` needs beside the forward pass, by its number of passes.

    One pass keeps the factors of all layers and the contributions of one; two passes keep the factors and the
    contributions of one layer, a few arrays of the size of its neurons. The result of the reduction is not included.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=9, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> needed = attribution_bytes(config, length=3, dtype="float32")
    >>> needed[1] - needed[2] == 6 * 3 * (4 * 4 + 12) * 4  # the factors of 9 layers, less what one layer takes
    True
    """
    kept = trace_bytes(
        config, batch=batch, length=length, positions=positions, record={HookPoint.HEAD, HookPoint.NEURON}, dtype=dtype
    )
    factors = kept[HookPoint.HEAD] + kept[HookPoint.NEURON]
    one_layer = factors // config.n_layers
    return {1: factors + (4 if effects else 1) * one_layer, 2: (6 if effects else 4) * one_layer}


def part_of(config: ModelConfig, shards: int) -> ModelConfig:
    """A model of the sizes that one of `shards` devices holds, for the estimates of this module.

    Heads, neurons (or experts) and the vocabulary are cut where they divide evenly; the neurons of a position's
    experts stand as one MLP's.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=9, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> part = part_of(config, 4)
    >>> part.n_heads, part.d_ff, part.vocab_size
    (1, 3, 11)
    """

    def cut(size: int) -> int:
        return size // shards if size % shards == 0 else size

    cut_neurons = any(size and size % shards == 0 for size in (config.n_experts, config.d_ff))
    return dataclasses.replace(
        config,
        n_heads=cut(config.n_heads),
        n_kv_heads=1,
        d_ff=-(-config.n_neurons // shards) if cut_neurons else config.n_neurons,
        vocab_size=cut(config.vocab_size),
        n_experts=0,
        experts_per_token=0,
        router_bias=False,
        router_normalised=True,
    )


def choose_passes(needed: Mapping[int, int], weights: int = 0, memory: int | None = None) -> Literal[1, 2]:
    """One pass if its memory fits into a quarter of what the weights leave of the device's memory, otherwise two.

    Args:
        needed: `attribution_bytes`, by the number of passes.
        weights: `weight_bytes` of the parameters.
        memory: bytes of the device; by default asked of the first one.

    >>> choose_passes({1: 4096, 2: 1024}), choose_passes({1: 2**60, 2: 1024}), choose_passes({1: 1, 2: 1}, 2**60)
    (1, 2, 2)
    """
    return 1 if needed[1] <= ((device_memory() if memory is None else memory) - weights) // 4 else 2


def sweep_bytes(
    config: ModelConfig, *, batch: int = 1, length: int, positions: int = 1, dtype: Any = None
) -> dict[str, int]:
    """Estimated bytes of a sweep over interventions: of the clean run that all share, and of each run at a time.

    A run holds one layer's values: the stream and what attention and the MLP make of it, or the logits.

    Args:
        length: columns of the prompts, up to the last one that is asked.
        positions: how many are asked.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=9, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> sweep_bytes(config, length=3, dtype="float32")
    {'shared': 2592, 'run': 1200}
    """
    size = compute_dtype(dtype).itemsize
    width = config.n_heads * config.head_dim
    kept = config.n_layers * (config.d_model + 2 * config.n_kv_heads * config.head_dim)
    row = 6 * config.d_model + width + 2 * config.d_ff + config.n_heads * length
    run = max(length * row, 2 * positions * config.vocab_size)
    return {"shared": size * batch * length * kept, "run": size * batch * run}


def choose_runs(needed: Mapping[str, int], weights: int = 0, memory: int | None = None) -> int:
    """How many runs of a sweep a quarter of what the weights and the clean run leave of the memory holds; at least one.

    >>> choose_runs({"shared": 0, "run": 10}, memory=400), choose_runs({"shared": 0, "run": 10}, memory=4)
    (10, 1)
    """
    left = (device_memory() if memory is None else memory) - weights - needed["shared"]
    return max(1, left // 4 // needed["run"])


def weight_bytes(params: Params) -> int:
    """Bytes of the parameters on one device; under ``jit``, where their sharding is unknown, of all of them.

    Of weights that stay on disk those of the largest alone, which is in memory at some time.

    >>> weight_bytes({"embed": {"W_E": jax.numpy.zeros((11, 8), "float32")}})
    352
    """

    def held(leaf: jax.Array) -> int:
        sharded = is_concrete(leaf) and isinstance(leaf, jax.Array)
        shape = leaf.sharding.shard_shape(leaf.shape) if sharded else leaf.shape
        return math.prod(shape) * leaf.dtype.itemsize

    leaves = jax.tree.leaves(params)
    on_disk = [leaf.nbytes for leaf in leaves if isinstance(leaf, WeightOnDisk)]
    return sum(held(leaf) for leaf in leaves if not isinstance(leaf, WeightOnDisk)) + max(on_disk, default=0)


def least_bytes(config: ModelConfig, weights: int, length: int) -> int:
    """A lower bound of the bytes for one prompt: `weights`, the values of one layer, and the key heads of all layers.

    It is below the real use, so that no run is refused that would have succeeded. Nothing is traced.
    """
    numbers = (
        config.d_model + 2 * config.n_neurons + config.n_layers * (config.n_kv_heads * config.head_dim + config.n_heads)
    )
    return weights + 4 * length * numbers
