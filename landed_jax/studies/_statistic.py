"""All statistics of one variable, which accumulate batch by batch and merge."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from landed_jax.intervals import LEVEL
from landed_jax.studies._groups import Groups
from landed_jax.studies._intervals import Interval, share_interval, student_interval
from landed_jax.studies._largest import Largest
from landed_jax.studies._measured import Kind
from landed_jax.studies._moments import Moments
from landed_jax.studies._quantiles import QuantileSketch
from landed_jax.studies._rank_correlation import RankCorrelation


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Statistic:
    """What is kept of one variable's samples.

    Attributes:
        kind: the names of the axes, and what is kept.
        moments: count, mean, variance and range.
        quantiles: None where they are not kept; likewise
        above: how many samples are above each of the kind's bounds, on the last axis; and
        largest: the largest samples with their prompts;
        groups: how samples vary within and between prompts; and
        ranks: how alike prompts order the kind's ranked axes.
    """

    kind: Kind = dataclasses.field(metadata={"static": True})
    moments: Moments
    quantiles: QuantileSketch | None
    above: Int[np.ndarray, "*cell bound"] | None
    largest: Largest | None
    groups: Groups | None = None
    ranks: RankCorrelation | None = None

    @classmethod
    def empty(cls, kind: Kind, shape: tuple[int, ...]) -> "Statistic":
        """Of no sample.

        Args:
            shape: of the cells.
        """
        return cls(
            kind,
            Moments.empty(shape),
            QuantileSketch.empty(shape) if kind.quantiles else None,
            np.zeros((*shape, len(kind.above)), np.int64) if kind.above else None,
            Largest.empty(shape, kind.top) if kind.top else None,
            Groups.empty(shape) if kind.nested else None,
            RankCorrelation.empty(*_rank_shape(kind, shape)) if kind.ranked else None,
        )

    @classmethod
    def of(
        cls,
        kind: Kind,
        samples: Float[np.ndarray, "sample *cell"],
        prompts: Int[np.ndarray, " sample"],
        where: Bool[np.ndarray, "sample *cell"] | None = None,
        places: Int[np.ndarray, "sample *cell"] | None = None,
        groups: Groups | None = None,
    ) -> "Statistic":
        """Of samples along the first axis, and the prompt that each is of; `groups` of a nested kind are given."""
        wide = np.asarray(samples, np.float64)
        higher = [(wide > bound) & (True if where is None else where) for bound in kind.above]
        return cls(
            kind,
            Moments.of(wide, where),
            QuantileSketch.of(wide, where) if kind.quantiles else None,
            np.stack([each.sum(axis=0) for each in higher], axis=-1) if kind.above else None,
            Largest.of(wide, prompts, kind.top, where, places) if kind.top else None,
            groups,
            _ranks(kind, samples, where) if kind.ranked else None,
        )

    @classmethod
    def by_class(
        cls,
        kind: Kind,
        samples: Float[np.ndarray, "sample *cell"],
        prompts: Int[np.ndarray, " sample"],
        classes: Bool[np.ndarray, "class sample"],
    ) -> "Statistic":
        """Of samples of several classes: the last of the cells' axes is the classes'."""
        each = [cls.of(kind, samples[member], prompts[member]) for member in classes]

        def stacked(part: str, axis: int) -> Any:
            leaves = [getattr(one, part) for one in each]
            return None if leaves[0] is None else jax.tree.map(lambda *of: np.stack(of, axis=axis), *leaves)

        return cls(kind, *(stacked(part, -1 if part == "moments" else -2) for part in _PARTS))

    def merged(self, other: "Statistic") -> "Statistic":
        """The statistics of both sets of samples together."""
        return Statistic(
            self.kind,
            self.moments.merged(other.moments),
            None if self.quantiles is None or other.quantiles is None else self.quantiles.merged(other.quantiles),
            None if self.above is None or other.above is None else self.above + other.above,
            None if self.largest is None or other.largest is None else self.largest.merged(other.largest),
            None if self.groups is None or other.groups is None else self.groups.merged(other.groups),
            None if self.ranks is None or other.ranks is None else self.ranks.merged(other.ranks),
        )

    def renumbered(self, first: int) -> "Statistic":
        """The same with the prompts' numbers counted from `first`."""
        largest = self.largest and self.largest.renumbered(first)
        return dataclasses.replace(self, largest=largest)

    def quantile(self, q: float | Sequence[float]) -> Float[np.ndarray, "..."]:
        """As `QuantileSketch.quantile`, and never outside of the samples; NaN where quantiles are not kept."""
        if self.quantiles is None:
            return np.full((*self.moments.mean.shape, *np.shape(q)), np.nan)
        found, several = self.quantiles.quantile(q), np.ndim(q) > 0
        least, most = (part[..., None] if several else part for part in (self.moments.minimum, self.moments.maximum))
        return np.minimum(np.maximum(found, least), most)

    def interval(self, level: float = LEVEL) -> Interval:
        """The confidence interval of the mean; see `student_interval`."""
        return student_interval(self.moments, level)

    def share_above(self, level: float = LEVEL) -> tuple[Float[np.ndarray, "*cell bound"], Interval] | None:
        """The share of samples above each bound, with its exact interval; None where there is no bound."""
        if self.above is None:
            return None
        count = np.broadcast_to(self.moments.count[..., None], self.above.shape)
        share = np.where(count > 0, self.above / np.maximum(count, 1), np.nan)
        return share, share_interval(self.above, count, level)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays by name, from which `restored` makes the same; of buckets those that hold a sample."""
        found = {f"moments.{name}": getattr(self.moments, name) for name in _MOMENTS}
        if self.quantiles is not None:
            places = np.flatnonzero(self.quantiles.counts)
            found |= {"quantiles.places": places, "quantiles.counts": self.quantiles.counts.ravel()[places]}
        if self.above is not None:
            found["above"] = self.above
        if self.largest is not None:
            found |= {f"largest.{name}": getattr(self.largest, name) for name in _LARGEST}
        if self.groups is not None:
            found |= {f"groups.{name}": getattr(self.groups, name) for name in _GROUPS}
        if self.ranks is not None:
            found |= {f"ranks.{name}": getattr(self.ranks, name) for name in _RANKS}
        return found

    @classmethod
    def restored(cls, kind: Kind, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> "Statistic":
        """From what `arrays` gave."""
        found = cls.empty(kind, shape)
        if found.quantiles is not None:
            found.quantiles.counts.ravel()[arrays["quantiles.places"]] = arrays["quantiles.counts"]
        return cls(
            kind,
            Moments(*(arrays[f"moments.{name}"] for name in _MOMENTS)),
            found.quantiles,
            None if found.above is None else arrays["above"],
            None if found.largest is None else Largest(*(arrays[f"largest.{name}"] for name in _LARGEST)),
            None if found.groups is None else Groups(*(arrays[f"groups.{name}"] for name in _GROUPS)),
            None if found.ranks is None else RankCorrelation(*(arrays[f"ranks.{name}"] for name in _RANKS)),
        )


def _ranks(kind: Kind, samples: np.ndarray, where: np.ndarray | None) -> RankCorrelation:
    chosen = None if where is None else np.broadcast_to(where, samples.shape)
    return RankCorrelation.of(_ranked_last(kind, samples), None if chosen is None else _ranked_last(kind, chosen))


def _rank_shape(kind: Kind, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    cells = _ranked_last(kind, np.empty((0, *shape))).shape[1:]
    return cells[:-1], cells[-1]


def _ranked_last(kind: Kind, samples: np.ndarray) -> np.ndarray:
    """Samples with the ranked axes together as the last."""
    places = [1 + kind.axes.index(axis) for axis in kind.ranked]
    moved = np.moveaxis(samples, places, range(-len(places), 0))
    kept = moved.shape[: -len(places)]
    return moved.reshape(*kept, int(np.prod(moved.shape[len(kept) :])))


_PARTS = ("moments", "quantiles", "above", "largest")
_MOMENTS = tuple(field.name for field in dataclasses.fields(Moments))
_LARGEST = tuple(field.name for field in dataclasses.fields(Largest))
_GROUPS = tuple(field.name for field in dataclasses.fields(Groups))
_RANKS = tuple(field.name for field in dataclasses.fields(RankCorrelation))
