"""Which interventions of a sweep run together: those of one structure that begin at the same layer and column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from landed_jax.interventions._stages import Batch, Span
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import AXES, EMBEDDINGS, OUTSIDE_LAYERS
from landed_jax.nn.intervention import Intervention
from landed_jax.nn.parameters import count_parameters
from landed_jax.tokens import bucket_length

# Rows (runs times columns) of a product below which runs that begin later are taken along: a product of so few takes
# hardly more time for more of them, least where a layer's weights come from memory each time.
FEW_ROWS, FEW_UNCACHED_ROWS, CACHED_WEIGHTS = 64, 256, 2**20
# And as many as one chunk takes at most: more only fill the memory.
MANY_ROWS = 2048


class Extent(NamedTuple):
    """Where a run differs from the clean one.

    Attributes:
        start: the first layer; −1 for an embedding, the number of layers for the final norm.
        last: the last layer that an intervention is meant for.
        first: the first column.
    """

    start: int
    last: int
    first: int


def extent_of(member: Sequence[Intervention], config: ModelConfig) -> Extent:
    """Of a run's interventions, whose places count from 0."""
    starts, lasts, firsts = [], [], []
    for one in member:
        if one.site in OUTSIDE_LAYERS:
            start = last = -1 if one.site in EMBEDDINGS else config.n_layers
        else:
            layers = one.where.get("layer")
            start, last = (0, config.n_layers - 1) if layers is None else _ends(layers)
        columns = one.where.get("source" if "position" not in AXES[one.site] else "position")
        starts.append(start)
        lasts.append(last)
        firsts.append(0 if columns is None else _ends(columns)[0])
    return Extent(min(starts, default=config.n_layers), max(lasts, default=-1), min(firsts, default=0))


def _ends(places: Any) -> tuple[int, int]:
    return (places.item(),) * 2 if places.size == 1 else (int(places.min()), int(places.max()))


@dataclass(frozen=True)
class Chunk:
    """Runs that are computed together.

    Attributes:
        places: of each run in the stack.
        runs: how many are computed: some may repeat the last one, so that chunks share a program.
    """

    places: tuple[int, ...]
    members: tuple[tuple[Intervention, ...], ...]
    start: int
    last: int
    span: Span
    runs: int

    def batch(self) -> Batch:
        """The interventions' leaves; those that are one object in all runs are shared."""
        flat = [jax.tree.flatten(member) for member in self.members]
        flat += [flat[-1]] * (self.runs - len(flat))
        leaves, axes = [], []
        for same in zip(*(leaves for leaves, _ in flat), strict=True):
            alike = all(leaf is same[0] for leaf in same)
            leaves.append(same[0] if alike else np.stack([np.asarray(leaf) for leaf in same]))
            axes.append(None if alike else 0)
        return Batch(tuple(leaves), flat[0][1], tuple(axes))


def chunks_of(
    members: Sequence[tuple[Intervention, ...]], config: ModelConfig, columns: Sequence[int], batch: int, most: int
) -> list[Chunk]:
    """All runs in chunks.

    Args:
        columns: those that are asked.
        batch: prompts.
        most: runs that fit into the memory at a time, with all columns.
    """
    end = max(columns) + 1
    few = FEW_ROWS if count_parameters(config) // config.n_layers <= CACHED_WEIGHTS else FEW_UNCACHED_ROWS
    by_kind: dict[Any, list[tuple[int, int, int, int]]] = {}
    for place, member in enumerate(members):
        extent = extent_of(member, config)
        span = _span(min(extent.first, min(columns)), end)
        leaves, tree = jax.tree.flatten(member)
        key = tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves), span
        by_kind.setdefault(key, []).append((extent.start, place, extent.last, span.first))
    chunks = []
    for (_, _, span), runs in by_kind.items():
        rows = batch * (span.end - span.first)
        limit = max(1, min(most * end // (span.end - span.first), MANY_ROWS // rows))
        parts = _together(sorted(runs), limit, -(-few // rows))
        size = max(map(len, parts))
        for part in parts:
            places = tuple(place for _, place, _, _ in part)
            last = max(last for _, _, last, _ in part)
            runs_of = _padded(len(part), size)
            chunks.append(Chunk(places, tuple(members[p] for p in places), part[0][0], last, span, runs_of))
    return chunks


def _span(first: int, end: int) -> Span:
    """The columns to compute: all, or a few lengths from the right, so that there are few programs."""
    length = bucket_length(max(end - first, 1))
    return Span(0, end) if length >= end else Span(end - length, end)


def _together(runs: list[Any], limit: int, few: int) -> list[list[Any]]:
    """Runs in order of their first layers, cut where another layer begins once there are `few`, and at `limit`."""
    parts: list[list[Any]] = []
    for run in runs:
        begins = not parts or len(parts[-1]) >= limit or (run[0] != parts[-1][0][0] and not _joins(parts[-1], run, few))
        if begins:
            parts.append([run])
        else:
            parts[-1].append(run)
    return parts


def _joins(part: list[Any], run: Any, few: int) -> bool:
    # An embedding's runs begin before the layers, and the final norm's behind them: by another path.
    return len(part) < few and part[0][0] >= 0


def _padded(count: int, size: int) -> int:
    """How many runs are computed for so many: `size`, or a power of two where that is at most half of it."""
    power = 1 << (count - 1).bit_length()
    return power if 2 * power <= size else size
