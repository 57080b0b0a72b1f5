"""``python -m benchmarks.long_prompts``: time and memory by the length of one prompt, each call in a new process.

With ``--page`` the tables are put into ``docs/performance.md``. The calls are a user's own: `Model.trace` at the last
position, without records, and `Model.attribute_streaming` in two passes. Each is made after one of a short prompt; its
programs are compiled in that time, but a call that takes less than a minute is made again, and the second time counts.
CPU-seconds are of all threads, and say more than the clock on a shared machine. A length is not run where its two
predecessors foretell more than ``--minutes``: its time is extrapolated by a part that grows with the length and one
that grows with its square, its memory by the length. A run that takes longer is stopped.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environment import prepare
from benchmarks.markdown import markdown, put

CALLS = {
    "forward": "forward, last position",
    "sums": "`layer_sums`, two passes",
    "top": "`top_writes(1000)`, two passes",
}
LENGTHS = (2048, 8192, 32768)
WARM = 64  # tokens of the first call
AGAIN = 60  # seconds: what takes less is called again, with its programs compiled


class Row(NamedTuple):
    """One call: its time and the memory that it adds to the weights, or what both are expected to be."""

    size: str
    call: str
    length: int
    cpu: float
    wall: float
    peak: float
    measured: bool = True


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_prompts", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["bundled", "125M"], help="bundled, or a shape of the benchmarks")
    parser.add_argument("--lengths", nargs="+", type=int, default=[*LENGTHS])
    parser.add_argument("--calls", nargs="+", choices=CALLS, default=[*CALLS])
    parser.add_argument("--minutes", type=float, default=10, help="a run that would take longer is extrapolated")
    parser.add_argument("--page", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # one process
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measured(options.sizes[0], options.calls[0], options.lengths[0])))
        return 0
    tables = []
    for size in options.sizes:
        rows: list[Row] = []
        for call in options.calls:
            of_call: list[Row] = []
            for length in sorted(options.lengths):
                of_call.append(_row(size, call, length, of_call, 60 * options.minutes))
                print(size, *_cells(of_call[-1]), sep="  ", file=sys.stderr, flush=True)
            rows += of_call
        tables.append(f"### Of {size}\n\n{_table(rows)}\n")
        if options.page:  # after each model, so that a killed run leaves complete tables
            put("performance.md", tables[-1], merge=True)
    print("\n".join(tables))
    return 0


def _row(size: str, call: str, length: int, before: Sequence[Row], seconds: float) -> Row:
    expected = extrapolated(before, length) if len(before) > 1 and all(row.measured for row in before[-2:]) else None
    if expected is not None and expected.wall > seconds:
        return expected
    arguments = ["--sizes", size, "--calls", call, "--lengths", str(length), "--one"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.long_prompts", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # one heap, as for `benchmarks --memory`
            cwd=Path(__file__).parents[1],
            check=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return Row(size, call, length, math.nan, seconds, math.nan, measured=False)
    return Row(size, call, length, *json.loads(done.stdout.splitlines()[-1]))


def extrapolated(before: Sequence[Row], length: int) -> Row:
    """What a longer prompt would take, by the last two lengths.

    >>> rows = [Row("5M", "top", n, 3.0 * n + n * n, 2.0 * n, 5.0 * n) for n in (2, 4)]
    >>> extrapolated(rows, 10)[3:]
    (130.0, 20.0, 50.0, False)
    """

    def grown(first: float, second: float) -> float:
        square = max((second / b.length - first / a.length) / (b.length - a.length), 0)
        return length * (second / b.length + square * (length - b.length))

    a, b = before[-2:]
    peak = b.peak + max(b.peak - a.peak, 0) * (length - b.length) / (b.length - a.length)
    return Row(b.size, b.call, length, grown(a.cpu, b.cpu), grown(a.wall, b.wall), peak, measured=False)


def _measured(size: str, call: str, length: int) -> tuple[float, float, float]:
    """CPU-seconds, seconds, and bytes above the weights."""
    from benchmarks.contestants import Prepared
    from benchmarks.memory import peak

    run = _call(size, call)
    run(WARM)

    def once() -> tuple[float, float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        added = peak(Prepared(lambda: run(length)))
        return time.process_time() - cpu, time.perf_counter() - wall, float(added or 0)

    first = once()
    if first[1] >= AGAIN:
        return first
    cpu, wall, _ = once()
    return cpu, wall, first[2]  # a later call takes from what the first one left in the heap


def _call(size: str, call: str) -> Callable[[int], Any]:
    import jax

    import landed_jax as landed
    from benchmarks.shapes import prompt, shape
    from benchmarks.weights import Weights

    model = landed.load() if size == "bundled" else None
    if model is None:
        config = shape(size)
        model = landed.Model(config, Weights(config).params)
    reduction = landed.reduce.layer_sums() if call == "sums" else landed.reduce.top_writes(1000)

    def run(length: int) -> Any:
        tokens = landed.Tokens.from_lists(prompt(model.config, length).tolist())
        if call == "forward":
            return jax.block_until_ready(model.trace(tokens, record=(), at=-1).logits)
        return jax.block_until_ready(model.attribute_streaming(tokens, reduction, passes=2).closure_error)

    return run


def _cells(row: Row) -> list[str]:
    if math.isnan(row.cpu):
        return [CALLS[row.call], f"{row.length:,}", "", f"stopped after {row.wall:,.0f}", ""]
    about = "" if row.measured else "about "
    figures = *(f"{value:,.{0 if value >= 10 else 1}f}" for value in (row.cpu, row.wall)), f"{row.peak / 2**20:,.0f}"
    return [CALLS[row.call], f"{row.length:,}", *(about + figure for figure in figures)]


def _table(rows: Sequence[Row]) -> str:
    names = ["call", "tokens", "CPU-seconds", "seconds", "MiB above the weights"]
    return markdown(names, [_cells(row) for row in rows])


if __name__ == "__main__":
    sys.exit(main())
