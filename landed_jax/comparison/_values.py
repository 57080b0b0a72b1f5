"""Values of circuits of components or of edges on all batches of a task, each found once."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from landed_jax.comparison._baselines import baselines
from landed_jax.comparison._finished import Finished, dtype_key
from landed_jax.comparison._kept import in_order, passes
from landed_jax.comparison._levels import EDGES, Level
from landed_jax.interventions._mean import ClassMeans
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks import Pairs
from landed_jax.tokens import Tokens, rows_of

_EDGE_CIRCUITS = 8
"""Circuits of edges between two looks at the clock."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Circuits:
    """Circuits of one level under one ablation.

    Attributes:
        level: None for edges.
        data: all prompts of the task, of which a mean is; `batches` are those on which circuits run.
        means: of `data`, by hook point, for a mean ablation of components.
        weights: a checksum of the model's.
    """

    model: Model
    batches: Sequence[Pairs]
    data: Sequence[Pairs]
    level: Level | None
    ablation: str
    means: dict[HookPoint, ClassMeans]
    weights: str
    dtype: Any = None

    @property
    def name(self) -> str:
        """Of the level."""
        return EDGES if self.level is None else self.level.name

    def values(
        self,
        masks: Bool[np.ndarray, "circuit layer component"],
        out: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Float[np.ndarray, "circuit prompt"]:
        """Each circuit's value at each prompt. Circuits that keep the same are run once, now and in later calls."""
        found, name = [], self.name
        for number, pairs in enumerate(self.batches):
            folder = None if out is None else Path(out) / f"{name}_{self.ablation}" / str(number)
            finished = Finished.of(
                folder, "circuits", name, self.ablation, self.weights, pairs, self._mean_of(), *dtype_key(self.dtype)
            )
            wanted = finished.missing(masks)
            for done, (place, value) in enumerate(self._run(pairs, masks[wanted])):
                finished.put(masks[wanted[place]], value)
                if progress is not None:
                    progress(number * len(wanted) + done + 1, len(self.batches) * len(wanted))
            finished.flush()
            found.append(finished.get(masks))
        return np.concatenate(found, axis=1)

    def _mean_of(self) -> Any:
        """The prompts of which a mean is, whatever batch the circuits run on: of edges the corrupted ones."""
        if self.ablation != "mean":
            return ()
        return self.data if self.level is not None else self._corrupted

    @functools.cached_property
    def _corrupted(self) -> Tokens:
        """The task's corrupted prompts, as one batch."""
        return Tokens.from_lists([row for pairs in self.data for row in rows_of(pairs.corrupted)])

    def passes(self, masks: Bool[np.ndarray, "circuit layer component"]) -> float:
        """How many forward passes over the prompts the circuits take, where none of them is finished."""
        different = np.unique(masks.reshape(len(masks), -1), axis=0)
        return passes(different.reshape(-1, *masks.shape[1:])) if self.level is not None else float(len(different))

    def _run(self, pairs: Pairs, masks: Bool[np.ndarray, "circuit layer component"]) -> Iterator[tuple[int, Any]]:
        if not len(masks):
            return
        if self.level is not None:
            baseline = baselines(self.model, pairs, self.level, self.ablation, self.means, self.dtype)
            yield from in_order(self.model, pairs, self.level, masks, baseline, dtype=self.dtype)
            return
        from landed_jax.circuits import circuit_values

        how: dict[str, Any] = {"data": self._corrupted if self.ablation == "mean" else None, "dtype": self.dtype}
        for first in range(0, len(masks), _EDGE_CIRCUITS):
            places = np.arange(first, min(first + _EDGE_CIRCUITS, len(masks)))
            # The last part repeats a circuit, so that all parts share a program.
            part = jnp.asarray(masks[np.resize(places, min(_EDGE_CIRCUITS, len(masks))), 0])
            values: Any = circuit_values(self.model, pairs, part, self.ablation, **how)  # pyright: ignore[reportArgumentType] # a name that was checked
            yield from zip(places.tolist(), np.asarray(values), strict=False)
