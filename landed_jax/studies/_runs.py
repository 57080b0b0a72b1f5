"""The numbers of every batch: the next one is computed while this one's are taken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int

from landed_jax.analysis.writes._projections import weight_norms
from landed_jax.errors import LandedError
from landed_jax.model import Model
from landed_jax.nn.sharding import beside
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.nn.weights_on_disk import abstract
from landed_jax.numerics import compute_dtype, highest_precision
from landed_jax.processes import fetched
from landed_jax.results.axes import POSITION_CLASSES
from landed_jax.studies._batches import REASONS, Batch, Part, Reader
from landed_jax.studies._groups import Groups
from landed_jax.studies._measured import Keep, Kind, Measured
from landed_jax.studies._program import measure
from landed_jax.studies._statistic import Statistic
from landed_jax.tokens import Tokens


class Variable(NamedTuple):
    """A variable of a study, known before any prompt is run.

    Attributes:
        shape: of the axes after the prompts' (and positions').
        dtype: as it is computed.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: np.dtype

    def empty(self) -> Statistic:
        """Its statistics of no sample."""
        own = self.shape[:-1] if self.kind.pooled else self.shape
        return Statistic.empty(self.kind, (*own, len(POSITION_CLASSES)) if self.kind.by_position else own)


@dataclass(frozen=True)
class BatchNumbers:
    """What was measured of one batch's prompts.

    Attributes:
        batch: the prompts, a row each.
        reasons: a row's place in the study's list of reasons; 0 for one that has its numbers.
        rows: for each variable with rows ``[prompt, *axes]``, NaN (of whole numbers −1) where there is no number.
        statistics: of this batch's prompts alone.
    """

    batch: Batch
    reasons: Int[np.ndarray, " prompt"]
    rows: dict[str, np.ndarray]
    statistics: dict[str, Statistic]

    @property
    def prompts(self) -> Int[np.ndarray, " prompt"]:
        """The prompts' numbers, in the order of the rows."""
        return np.array([entry.number for entry in self.batch.entries])


Started = list[tuple[int, Any]]
"""What is being computed of a batch: of each part, how many rows are prompts, and its numbers on the devices."""


class Run:
    """A model, what is kept, and the reader of prompts."""

    def __init__(self, model: Model, reader: Reader, keeps: Sequence[Keep], dtype: Any = None) -> None:
        self.model, self.reader, self.keeps = model, reader, tuple(keeps)
        self.dtype = compute_dtype(dtype)
        effects = any(keep.effects for keep in self.keeps)
        self._norms: WeightNorms | None = weight_norms(model.params, model.config, self.dtype) if effects else None
        self._how: Any = {
            "config": model.config,
            "keeps": self.keeps,
            "position": reader.position,
            "dtype": self.dtype,
        }
        self.variables = self._variables()

    @property
    def reasons(self) -> list[str]:
        """Why a prompt has no numbers, by the numbers in a study's rows."""
        return [*REASONS, *(f"not finite: {name}" for name in self.variables)]

    @highest_precision
    def _variables(self) -> dict[str, Variable]:
        size = 2  # two prompts: an axis of another size is none of prompts
        shape, answers = (size, 8), np.zeros((size, 0), np.int32)
        ids, mask, answers = jax.device_put((np.zeros(shape, np.int32), np.ones(shape, bool), answers))
        shapes, _ = jax.eval_shape(
            partial(measure, **self._how),
            abstract(self.model.params),
            Tokens(ids, mask),
            answers,
            answers,
            mask,
            self._norms,
        )
        found = {}
        for name, measured in shapes.items():
            skipped = 2 if measured.kind.by_position else 1
            shape = measured.values.shape
            if len(shape) - skipped != len(measured.kind.axes) or shape[0] != size:
                raise LandedError(
                    f"{name} has the shape {list(shape)} for {size} prompts: its first axis is the prompts', and the "
                    f"others are named {list(measured.kind.axes)}."
                )
            found[name] = Variable(measured.kind, shape[skipped:], np.dtype(measured.values.dtype))
        return found

    @highest_precision
    def numbers(self, done: int = 0, known: tuple[int, str] | None = None) -> Iterator[BatchNumbers]:
        """The numbers of every batch but the first `done`; `known` is as for `Reader.batches`."""
        ahead: tuple[Batch, Started] | None = None
        for batch in self.reader.batches(done, known):
            started = batch, self.start(batch)
            if ahead is not None:
                yield self.finish(*ahead)
            ahead = started
        if ahead is not None:
            yield self.finish(*ahead)

    def start(self, batch: Batch, *, one_by_one: bool = False) -> Started:
        """Let a batch's numbers be computed; `finish` waits for them.

        Args:
            one_by_one: wait for each program before the next begins. Of two that run at once the CPUs of several
                processes may begin with different ones, and then wait for each other for ever.
        """
        started: Started = []
        for part in self.reader.parts(batch):
            found = self._start(part)
            started.append((part.count, fetched(jax.block_until_ready(found)) if one_by_one else found))
        return started

    def _start(self, part: Part) -> Any:
        given = part.ids, part.mask, part.right, part.wrong, part.delimiter
        placed: Any = beside(self.model.params, given)
        # What lies on a mesh of several processes' devices cannot be put anywhere else.
        ids, mask, right, wrong, delimiter = placed if isinstance(placed[0], jax.Array) else jax.device_put(placed)
        return measure(self.model.params, Tokens(ids, mask), right, wrong, delimiter, self._norms, **self._how)

    def finish(self, batch: Batch, started: Started) -> BatchNumbers:
        """The numbers of a batch that was started."""
        parts = [_cut(fetched(found), count) for count, found in started]
        there = np.array([bool(entry.ids) for entry in batch.entries])
        prompts = np.array([entry.number for entry in batch.entries])[there]
        reasons = np.array([entry.reason for entry in batch.entries], np.int16)
        values = {name: _joined([measured[name] for measured, _ in parts]) for name in self.variables if parts}
        classes = (
            np.concatenate([members for _, members in parts], axis=1) if parts and parts[0][1] is not None else None
        )
        failed = np.zeros(len(prompts), np.int16)
        for place, measured in reversed(list(enumerate(values.values()))):
            failed[_not_finite(measured, classes)] = len(REASONS) + place
        reasons[there] = failed
        statistics = {}
        for name, variable in self.variables.items():
            if variable.kind.statistics:
                good = failed == 0
                statistics[name] = _statistic(values[name], prompts, good, classes) if good.any() else variable.empty()
        rows = {
            name: _row(variable, values.get(name), there)
            for name, variable in self.variables.items()
            if variable.kind.row and not variable.kind.by_position
        }
        return BatchNumbers(batch, reasons, rows, statistics)


def _cut(found: tuple[dict[str, Measured], Any], count: int) -> tuple[dict[str, Measured], Any]:
    """Without the rows that only fill the shape."""
    measured, classes = found
    return jax.tree.map(lambda leaf: leaf[:count], measured), None if classes is None else classes[:, :count]


def _joined(parts: Sequence[Measured]) -> Measured:
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _not_finite(measured: Measured, classes: Bool[np.ndarray, "class prompt position"] | None) -> np.ndarray:
    bad: Any = np.asarray(~np.isfinite(measured.values))
    if measured.squares is not None:
        bad |= ~np.isfinite(measured.squares)
    if measured.defined is not None:
        bad &= measured.defined
    if measured.kind.by_position:
        assert classes is not None  # only what looks everywhere measures positions
        bad &= classes.any(axis=0).reshape(*classes.shape[1:], *(1,) * (bad.ndim - 2))
    return bad.reshape(len(bad), -1).any(axis=1)


def _statistic(measured: Measured, prompts: np.ndarray, good: np.ndarray, classes: np.ndarray | None) -> Statistic:
    kind, values = measured.kind, np.asarray(measured.values)[good]
    prompts = prompts[good]
    if kind.by_position:
        assert classes is not None
        flat = values.reshape(-1, *values.shape[2:])
        members = classes[:, good].reshape(len(classes), -1)
        return Statistic.by_class(kind, flat, np.repeat(prompts, values.shape[1]), members)
    where, places = (None if part is None else np.asarray(part)[good] for part in (measured.defined, measured.places))
    if kind.pooled:

        def pooled(part: np.ndarray | None) -> Any:
            return None if part is None else np.moveaxis(part, -1, 1).reshape(-1, *part.shape[1:-1])

        prompts = np.repeat(prompts, values.shape[-1])
        values, where, places = pooled(values), pooled(where), pooled(places)
    groups = None
    if measured.samples is not None and measured.squares is not None:
        groups = Groups.of(values, np.asarray(measured.samples)[good], np.asarray(measured.squares)[good])
    return Statistic.of(kind, values, prompts, where, places, groups)


def _row(variable: Variable, measured: Measured | None, there: np.ndarray) -> np.ndarray:
    is_float = np.issubdtype(variable.dtype, np.floating)
    rows = np.full((len(there), *variable.shape), np.nan if is_float else -1, variable.dtype)
    if measured is not None:
        values = measured.values
        rows[there] = values if measured.defined is None else np.where(measured.defined, values, rows[there])
    return rows


def merged_statistics(mine: Mapping[str, Statistic], theirs: Mapping[str, Statistic]) -> dict[str, Statistic]:
    """Both sides' statistics together, by variable."""
    return {name: part.merged(theirs[name]) for name, part in mine.items()}
