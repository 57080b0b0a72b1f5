"""Bytes that a call takes on each chip."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from landed_jax.memory.estimates import attribution_bytes, choose_passes, trace_bytes
from landed_jax.nn.attention import ACCELERATOR_SCORES, FEWEST_QUERIES, span_of
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import LAYER_LEAVES, TOP_LEAVES, Leaf, axis_sizes
from landed_jax.nn.runs import runs_in
from landed_jax.nn.sharding import cut_axis
from landed_jax.nn.top_token import BLOCK, ROWS
from landed_jax.planning._chips import Chip
from landed_jax.planning._task import TOP, Share, Task

FLOAT = 4  # bytes of a number in streams, factors and results, whatever the weights' type


@dataclass(frozen=True)
class Memory:
    """Bytes on one chip.

    Attributes:
        parameters: its part of the weights, exactly.
        factors: of all layers, which an attribution in one pass keeps.
        activations: the most that exists at a time beside them: of one layer, or of the attribution; without what the
            chip's fast memory holds.
        logits_block: logits of a few positions, where not all are the result.
        result: what the call gives back, and what `top` keeps of each layer to choose from.
    """

    parameters: int
    factors: int
    activations: int
    logits_block: int
    result: int

    @property
    def total(self) -> int:
        return self.parameters + self.factors + self.activations + self.logits_block + self.result


def parameter_bytes(config: ModelConfig, dtype: Any, shards: int) -> int:
    """Bytes of one chip's part of the parameters, cut over so many chips as `leaf_sharding` cuts them.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> parameter_bytes(config, "bfloat16", 1) - parameter_bytes(config, "bfloat16", 2)  # all but W_E, W_U and norms
    672
    """
    sizes = axis_sizes(config)

    def held(leaf: Leaf) -> int:
        cut = cut_axis(leaf, config, shards)
        return math.prod(sizes[axis] // (shards if axis == cut else 1) for axis in leaf.axes)

    counts = ((TOP_LEAVES, 1), (LAYER_LEAVES, config.n_layers))
    there = ((leaf, times) for leaves, times in counts for leaf in leaves if leaf.present(config))
    return jnp.dtype(dtype).itemsize * sum(times * held(leaf) for leaf, times in there)


def memory_of(
    config: ModelConfig, task: Task, mesh: Mapping[str, int], dtype: Any, chip: Chip
) -> tuple[Memory, Literal[1, 2] | None]:
    """What one chip holds, and the number of passes that an attribution takes there (None for a forward pass)."""
    share = Share.of(config, task, mesh)
    weights = parameter_bytes(config, dtype, mesh["model"])
    working, factors, logits, passes = _layer_bytes(task, mesh, share), 0, 0, None
    if task.attributes:
        sizes = {"batch": share.batch, "length": task.length, "positions": task.positions}
        needed = attribution_bytes(share.part, **sizes, effects=task.effects, dtype="float32")
        passes = choose_passes(needed, weights, chip.usable)
        kept = trace_bytes(share.part, **sizes, record={HookPoint.HEAD, HookPoint.NEURON}, dtype="float32")
        factors = kept[HookPoint.HEAD] + kept[HookPoint.NEURON] if passes == 1 else 0
        stream = FLOAT * share.batch * config.d_model
        # The embedding, the final stream and its norm; what is read of it, and with effects the stream's own direction.
        read = (5 if task.effects else 4) * task.positions * stream
        working = read + max(working, needed[passes] - factors + (task.length * stream if passes == 2 else 0))
        logits = _logits_block(task, share, dtype)
    held = max(working - chip.fast_memory, 0)
    return Memory(weights, factors, held, logits, result_bytes(task, share)), passes


def result_bytes(task: Task, share: Share) -> int:
    """Bytes of one chip's part of the result."""
    config, places = share.config, share.batch * task.positions
    if not task.attributes:
        return FLOAT * places * share.vocab
    if task.what == "top":
        # Ten numbers a write: every chip has those kept in the end, and those kept of each run of a layer's writes.
        in_runs = ((runs_in(whole), part / whole) for whole, part in share.cut)
        candidates = sum(runs * part for runs, part in in_runs) * config.n_layers * share.batch
        return int(10 * FLOAT * TOP * (1 + candidates))
    kinds = 3 if task.effects else 1
    return FLOAT * config.n_layers * places * (kinds * (share.heads + share.neurons + 2) + 2)


def _layer_bytes(task: Task, mesh: Mapping[str, int], share: Share) -> int:
    """The most that one layer holds at a time: in attention, or in its MLP."""
    config, tokens = share.config, share.batch * task.length
    # The stream, and what the norm makes of it.
    stream = 2 * tokens * config.d_model
    attention = tokens * config.head_dim * (2 * share.heads + 2 * share.kv_heads) + 2 * _scores(task, mesh, share)
    mlp = tokens * (2 if config.gated_mlp else 1) * share.neurons
    return FLOAT * (stream + max(attention, mlp))


def _scores(task: Task, mesh: Mapping[str, int], share: Share) -> int:
    """Scores that exist at a time on one chip: attention goes in blocks of a size for all chips together."""
    row = task.batch * share.config.n_heads * task.length
    queries = min(max(ACCELERATOR_SCORES // (FLOAT * row), FEWEST_QUERIES), span_of(task.length), task.length)
    return share.batch * share.heads * task.length * queries


def _logits_block(task: Task, share: Share, dtype: Any) -> int:
    """Logits that are searched at a time for the largest; of narrow weights, a block of the vocabulary in float32."""
    rows = min(max(ROWS * share.batch // task.batch, share.batch), share.batch * task.positions)
    if jnp.dtype(dtype).itemsize == FLOAT:
        return FLOAT * rows * share.vocab
    tokens = min(BLOCK * share.vocab // share.config.vocab_size, share.vocab)
    return FLOAT * tokens * (rows + share.config.d_model)
