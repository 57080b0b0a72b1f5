"""Every method's scores of a task's prompts, with what they cost beside a forward pass."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Float

from landed_jax import __version__
from landed_jax.comparison._finished import dtype_key
from landed_jax.interventions._saved import Saved
from landed_jax.model import Model
from landed_jax.tasks import Pairs

_TIMES = 3
"""How often a forward pass is timed, and beside how many batches of a method."""


class Method(Protocol):
    """What is compared: see `landed.methods`."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def reference(self) -> str:
        """Where it was published."""
        ...

    @property
    def differs(self) -> str:
        """Where this form of it deviates."""
        ...

    @property
    def neurons(self) -> bool:
        """Whether it scores neurons."""
        ...

    @property
    def score(self) -> Any:
        """``score(model, pairs, dtype=None)``: an object with the attributes of `BatchScores`."""
        ...


@dataclass(frozen=True, eq=False)
class BatchScores:
    """One method's scores of a batch; None for what it does not score.

    Attributes:
        value: what the scores are of, as the method gives it.
        conservation_error: how far they are from summing to it.
        cost: seconds, over those of a forward pass; NaN where they were not compared, such as while compiling.
    """

    heads: Float[np.ndarray, "layer batch head"] | None
    neurons: Float[np.ndarray, "layer batch neuron"] | None
    tokens: Float[np.ndarray, "batch position"] | None
    value: Float[np.ndarray, " batch"]
    conservation_error: Float[np.ndarray, " batch"] | None
    cost: float


@dataclass(frozen=True, eq=False)
class TaskScores:
    """One method's scores of all prompts of a task, in the order of their batches."""

    name: str
    batches: tuple[BatchScores, ...]

    def along(self, name: str, axis: int) -> np.ndarray | None:
        """A field of all batches together."""
        parts = [getattr(batch, name) for batch in self.batches]
        return None if parts[0] is None else np.concatenate(parts, axis=axis)

    @property
    def cost(self) -> float:
        """The median over batches."""
        return float(np.nanmedian([batch.cost for batch in self.batches]))


@dataclass
class Forward:
    """How long a forward pass takes: programs compiled, logits of the last column alone."""

    model: Model
    dtype: Any = None
    _known: dict[tuple[int, ...], float] = field(default_factory=dict)

    def seconds(self, pairs: Pairs) -> float:
        """Of one batch, the median of a few, measured once for each shape."""
        shape = pairs.clean.ids.shape
        if shape not in self._known:
            self.now(pairs)
            self._known[shape] = float(np.median([self.now(pairs) for _ in range(_TIMES)]))
        return self._known[shape]

    def now(self, pairs: Pairs) -> float:
        """Of one batch, at this moment."""
        return timed(lambda: self.model.trace(pairs.clean, record=(), at=-1, dtype=self.dtype))


def timed(function: Any) -> float:
    """Seconds until its arrays are there."""
    start = time.perf_counter()
    jax.block_until_ready(jax.tree.leaves(function()))
    return time.perf_counter() - start


def score_batches(
    method: Method,
    model: Model,
    batches: Sequence[Pairs],
    forward: Forward,
    weights: str,
    out: str | os.PathLike[str] | None = None,
) -> TaskScores:
    """A method's scores of each batch, kept in a folder of the method's name.

    Args:
        weights: a checksum of the model's.
    """
    found, shapes = [], set()
    for number, pairs in enumerate(batches):
        folder = None if out is None else Path(out) / method.name.replace(" ", "_") / str(number)
        key = dtype_key(forward.dtype)
        saved = Saved.of(folder, "scores", __version__, weights, method.name, pairs, *key)
        kept = saved.get((0,))
        if kept is None:
            first = pairs.clean.ids.shape not in shapes
            shapes.add(pairs.clean.ids.shape)
            timed_before = sum(bool(np.isfinite(batch.cost)) for batch in found)
            # Where every batch has a shape of its own, the last one is run twice: the first time compiles.
            again = first and not timed_before and number == len(batches) - 1
            kept = _measured(method, model, pairs, forward, again or (not first and timed_before < _TIMES), again)
            saved.put((0,), kept)
        found.append(_batch(kept))
    return TaskScores(method.name, tuple(found))


_FIELDS = ("heads", "neurons", "tokens", "value", "conservation_error")


def _measured(
    method: Method, model: Model, pairs: Pairs, forward: Forward, with_cost: bool, again: bool
) -> list[np.ndarray]:
    """Arrays of all fields, an empty one for None, and the cost: a forward pass is timed right behind the scores."""
    if again:
        method.score(model, pairs, dtype=forward.dtype)
    start = time.perf_counter()
    scores = method.score(model, pairs, dtype=forward.dtype)
    arrays = [getattr(scores, name) for name in _FIELDS]
    arrays = [np.zeros(0) if array is None else np.asarray(array) for array in arrays]
    taken = time.perf_counter() - start
    if with_cost:
        forward.seconds(pairs)  # compiled
    return [*arrays, np.array(taken / forward.now(pairs) if with_cost else np.nan)]


def _batch(kept: Sequence[np.ndarray]) -> BatchScores:
    return BatchScores(*(array if array.size else None for array in kept[:-1]), cost=float(kept[-1]))  # pyright: ignore[reportArgumentType] # value is never None
