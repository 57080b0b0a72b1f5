"""Timed rounds. Every contestant runs once per round, so that other load on the machine affects all alike."""

import gc
import time
from collections.abc import Iterator, Sequence

from benchmarks.contestants import CONTESTANTS, Prepared, Unavailable, closure_of
from benchmarks.results import Measured
from benchmarks.shapes import shape
from benchmarks.transformer_lens_side import OverBudget
from benchmarks.weights import Weights

SECONDS = 30.0  # a contestant whose rounds would take longer skips the later ones


def measure(
    sizes: Sequence[str],
    lengths: Sequence[int],
    names: Sequence[str],
    repeats: int,
    seconds: float = SECONDS,
    *,
    stacked: bool | None = None,
) -> Iterator[list[Measured]]:
    """The rows of each size and length."""
    for size in sizes:
        weights = Weights(shape(size), stacked=stacked)
        for length in lengths:
            yield rounds(weights, size, length, names, repeats, seconds)
        del weights
        gc.collect()


def rounds(
    weights: Weights, size: str, length: int, names: Sequence[str], repeats: int, seconds: float = SECONDS
) -> list[Measured]:
    """Prepare and run every contestant once, then time the rounds."""
    ready: dict[str, Prepared] = {}
    rows = {name: Measured(name, size, length) for name in names}
    takes: dict[str, float] = {}
    for name, row in rows.items():
        try:
            prepared = CONTESTANTS[name].build(weights, length)
            row.compile_s = prepared.compile_s
            takes[name], result = _timed(prepared)
        except (Unavailable, OverBudget) as error:
            row.note = str(error)
            continue
        closure = closure_of(result)
        del result
        if closure is not None:
            row.closure_error, row.largest_value = closure
        ready[name] = prepared
    for turn in range(repeats):
        # In alternating order, so that no contestant always runs after the same other one.
        for name in list(ready) if turn % 2 == 0 else list(ready)[::-1]:
            if turn == 0 or takes[name] * (turn + 1) <= seconds:
                try:
                    rows[name].seconds.append(_timed(ready[name])[0])
                except OverBudget as error:
                    rows[name].note = str(error)
                    ready.pop(name)
    return list(rows.values())


def _timed(prepared: Prepared) -> tuple[float, object]:
    start = time.perf_counter()
    result = prepared.run()
    return time.perf_counter() - start, result
