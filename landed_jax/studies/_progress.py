"""How far a study is: its statistics, what became of its prompts, and the rows of the window that is not whole yet."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from landed_jax.studies._runs import BatchNumbers, Variable
from landed_jax.studies._statistic import Statistic

OWN_ROWS = {"prompt": np.dtype(np.int64), "reason": np.dtype(np.int16), "tokens": np.dtype(np.int32)}
"""Rows that every study has: the prompt's number, why it has no numbers (0: it has), and how many tokens it has."""


@dataclass
class Progress:
    """What is known after some batches.

    Attributes:
        batches: how many.
        known: how many prompts were read for them, and their digest.
        reasons: how many prompts have each reason.
        statistics: by variable.
        pending: rows by name, of the window that is not whole yet; a list of arrays, one a batch.
        windows: rows by name, of whole windows, until they are taken.
    """

    batches: int
    known: tuple[int, str] | None
    reasons: Int[np.ndarray, " reason"]
    statistics: dict[str, Statistic]
    pending: dict[str, list[np.ndarray]]
    windows: list[dict[str, np.ndarray]] = field(default_factory=list)

    @classmethod
    def begun(cls, variables: Mapping[str, Variable], reasons: int) -> "Progress":
        """Before the first batch."""
        empty = {name: variable.empty() for name, variable in variables.items() if variable.kind.statistics}
        return cls(0, None, np.zeros(reasons, np.int64), empty, {name: [] for name in row_names(variables)})

    @property
    def prompts(self) -> int:
        """How many prompts are done, those without numbers too."""
        return int(self.reasons.sum())

    def without_numbers(self, reasons: Sequence[str]) -> dict[str, int]:
        """How many prompts have no numbers, by the reason; of those that there are."""
        return {name: int(count) for name, count in zip(reasons, self.reasons, strict=True) if name and count}

    def take(self, numbers: BatchNumbers) -> None:
        """Add a batch."""
        entries = numbers.batch.entries
        own = {
            "prompt": np.array([entry.number for entry in entries], OWN_ROWS["prompt"]),
            "reason": numbers.reasons.astype(OWN_ROWS["reason"]),
            "tokens": np.array([len(entry.ids) for entry in entries], OWN_ROWS["tokens"]),
        }
        for name, rows in {**own, **numbers.rows}.items():
            self.pending[name].append(rows)
        for name, part in numbers.statistics.items():
            self.statistics[name] = self.statistics[name].merged(part)
        self.reasons = self.reasons + np.bincount(numbers.reasons, minlength=len(self.reasons))
        self.batches += 1
        self.known = numbers.batch.window
        if numbers.batch.last:
            self.windows.append({name: np.concatenate(rows) for name, rows in self.pending.items()})
            self.pending = {name: [] for name in self.pending}

    def state(self) -> bytes:
        """The statistics and the rows that are pending, as the bytes of an ``.npz``: the same for the same numbers."""
        arrays = {f"rows/{name}": np.concatenate(rows) for name, rows in self.pending.items() if rows}
        return packed({"reasons": self.reasons, **arrays, **statistics_arrays(self.statistics)})

    @classmethod
    def restored(
        cls, data: bytes, variables: Mapping[str, Variable], batches: int, known: tuple[int, str] | None
    ) -> "Progress":
        """From what `state` gave."""
        arrays = unpacked(data)
        statistics = restored_statistics(arrays, variables)
        pending = {name: [arrays[f"rows/{name}"]] if f"rows/{name}" in arrays else [] for name in row_names(variables)}
        return cls(batches, known, arrays["reasons"], statistics, pending)


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Arrays by name as the bytes of an ``.npz``.

    >>> unpacked(packed({"a": np.arange(3)}))
    {'a': array([0, 1, 2])}
    """
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def unpacked(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of `packed`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return dict(stored)


def statistics_arrays(statistics: Mapping[str, Statistic]) -> dict[str, np.ndarray]:
    """Statistics as arrays by name, from which `restored_statistics` makes the same."""
    return {
        f"statistics/{name}/{key}": value for name, part in statistics.items() for key, value in part.arrays().items()
    }


def restored_statistics(arrays: Mapping[str, np.ndarray], variables: Mapping[str, Variable]) -> dict[str, Statistic]:
    """From what `statistics_arrays` gave, among other arrays."""
    found = {}
    for name, variable in variables.items():
        if variable.kind.statistics:
            prefix = f"statistics/{name}/"
            own = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
            shape = variable.empty().moments.count.shape
            found[name] = Statistic.restored(variable.kind, shape, own)
    return found


def row_names(variables: Mapping[str, Variable]) -> list[str]:
    """The names of all rows."""
    return [*OWN_ROWS, *(name for name, of in variables.items() if of.kind.row and not of.kind.by_position)]
