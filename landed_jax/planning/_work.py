"""What one chip computes, moves and sends for one batch, and the time that this takes at published rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from landed_jax.nn.attention import span_of
from landed_jax.nn.config import ModelConfig
from landed_jax.planning._chips import Precision
from landed_jax.planning._memory import FLOAT, parameter_bytes, result_bytes
from landed_jax.planning._task import Share, Task
from landed_jax.planning._topology import Topology

_BLOCKS = 2  # of a layer: attention and MLP


@dataclass(frozen=True)
class Work:
    """Of one chip, for one batch.

    Attributes:
        flops: operations of products, by part.
        moved: bytes read from memory and written to it, by part.
        sent: bytes over the interconnect.
    """

    flops: Mapping[str, int]
    moved: Mapping[str, int]
    sent: int


@dataclass(frozen=True)
class Seconds:
    """The time of one batch.

    Attributes:
        compute, memory, interconnect: that each would take alone, at the whole published rate.
        bound: the longest of the three: no program is faster.
        expected: products or memory, whichever is longer, and then the interconnect, at `fraction` of the rates.
        fraction: assumed.
    """

    compute: float
    memory: float
    interconnect: float
    fraction: float

    @property
    def bound(self) -> float:
        return max(self.compute, self.memory, self.interconnect)

    @property
    def expected(self) -> float:
        return (max(self.compute, self.memory) + self.interconnect) / self.fraction


def seconds_of(work: Work, topology: Topology, shards: int, precision: Precision, fraction: float) -> Seconds:
    """The time of the work at a fraction of the chip's published rates."""
    chip = topology.chip
    return Seconds(
        compute=sum(work.flops.values()) / chip.products[precision],
        memory=sum(work.moved.values()) / chip.bandwidth,
        interconnect=work.sent / topology.link_of(shards) if work.sent else 0.0,
        fraction=fraction,
    )


def work_of(config: ModelConfig, task: Task, mesh: Mapping[str, int], dtype: Any, passes: int | None) -> Work:
    """One chip's work for one batch."""
    share = Share.of(config, task, mesh)
    tokens, asked = share.batch * task.length, share.batch * task.positions
    runs = passes or 1
    pairs = share.batch * sum(attended_pairs(task.length, window) for window in config.windows)
    flops = {
        "attention and MLP": runs * config.n_layers * _layer_flops(share, tokens),
        "scores": runs * 4 * pairs * share.heads * config.head_dim,
        "logits": 2 * asked * config.d_model * share.vocab,
    }
    if task.attributes:
        flops["attribution"] = config.n_layers * _attribution_flops(share, task, asked)
    moved = {
        "weights": _weight_traffic(config, task, mesh, dtype, share, runs),
        "activations": FLOAT * runs * _activation_traffic(share, tokens, pairs) + result_bytes(task, share),
    }
    # Both sums of each layer, and the embeddings' in the weights' type: a ring sends every part but its own, twice.
    summed = runs * (_BLOCKS * config.n_layers * FLOAT + jnp.dtype(dtype).itemsize) * tokens * config.d_model
    return Work(flops, moved, 2 * summed * (share.shards - 1) // share.shards)


def attended_pairs(length: int, window: int | None) -> int:
    """Pairs of query and key that attention computes in a prompt: a span of queries takes all keys up to its end.

    >>> attended_pairs(64, None), attended_pairs(128, None), attended_pairs(128, 1)
    (4096, 12288, 8192)
    """
    size = span_of(length)
    spans = ((start, min(start + size, length)) for start in range(0, length, size))
    return sum((end - start) * (end - (0 if window is None else max(0, start - window + 1))) for start, end in spans)


def _layer_flops(share: Share, tokens: int) -> int:
    """The products of one layer with its weights."""
    config = share.config
    columns = config.head_dim * (2 * share.heads + 2 * share.kv_heads) + config.n_experts
    return 2 * tokens * config.d_model * (columns + (3 if config.gated_mlp else 2) * share.neurons)


def _attribution_flops(share: Share, task: Task, asked: int) -> int:
    """A layer's: each vector seen from the inputs of W_O and W_down; for effects also the norms of writes."""
    config = share.config
    seen = 2 * asked * config.d_model * (share.heads * config.head_dim + share.neurons)
    if not task.effects:
        return seen
    norms = 2 * asked * share.heads * config.head_dim**2
    of_weights = 2 * config.d_model * (share.heads * config.head_dim**2 + share.neurons)
    # Behind an output norm also what the block puts out, all writes' products with it and with what it adds, and the
    # norms of what the components put out.
    return 5 * seen + 2 * (norms + of_weights) if config.output_norms else 2 * seen + norms + of_weights


def _weight_traffic(
    config: ModelConfig, task: Task, mesh: Mapping[str, int], dtype: Any, share: Share, runs: int
) -> int:
    """Weights read: of layers in each run, of the vocabulary once; of experts those that some token chose."""
    size = jnp.dtype(dtype).itemsize
    whole = parameter_bytes(config, dtype, mesh["model"])
    vocab = size * config.d_model * share.vocab
    layers = whole - vocab * (1 if config.tie_embeddings else 2)
    if config.n_experts:
        tokens = share.batch * task.length
        unread = max(config.n_experts - tokens * config.experts_per_token, 0) / config.n_experts
        experts = size * config.n_layers * (3 if config.gated_mlp else 2) * config.d_model
        experts *= config.n_experts * share.neurons // config.experts_per_token
        layers -= int(unread * experts)
    outputs = size * config.n_layers * config.d_model * (share.heads * config.head_dim + share.neurons)
    return runs * layers + vocab + (outputs if task.attributes else 0)


def _activation_traffic(share: Share, tokens: int, pairs: int) -> int:
    """Numbers of all layers that are written once and read once; scores twice each, as no kernel fuses them."""
    config = share.config
    row = 6 * config.d_model + config.head_dim * (2 * share.heads + 2 * share.kv_heads)
    row += (3 if config.gated_mlp else 2) * share.neurons
    return 2 * (config.n_layers * tokens * row + 2 * pairs * share.heads)
