"""The watcher of the fuzzing: it counts what becomes of each mutation, and ends what hangs or takes too much memory."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.compiling import XLA_FLAGS
from tests.fuzz.mutations import MUTATIONS

_SECONDS = 20.0  # of the processor; or three times as long in which it waits
_MEMORY = 1 << 30  # bytes above what the process has before the first mutation


@dataclass
class Found:
    """What became of the mutations.

    Attributes:
        counts: by kind and outcome.
        faults: what should not have happened, with the number of the mutation.
        seconds, slowest: of the processor for the slowest one, and which it was.
        growth: bytes of the largest growth of the process during one.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    slowest: str = ""
    growth: int = 0

    def total(self, outcome: str) -> int:
        return sum(count for (_, found), count in self.counts.items() if found == outcome)

    def table(self) -> str:
        """Counts by kind, one a line."""
        outcomes = ("refused", "accepted", "other", "hung", "memory", "crashed")
        rows = [f"{'':22}" + "".join(f"{name:>10}" for name in outcomes)]
        for kind in (mutate.__name__ for _, mutate in MUTATIONS):
            rows.append(f"{kind:22}" + "".join(f"{self.counts[kind, name]:10}" for name in outcomes))
        rows.append(f"{'all':22}" + "".join(f"{self.total(name):10}" for name in outcomes))
        return "\n".join(rows)


def fuzz(seed: str, *, count: int | None = None, seconds: float | None = None, first: int = 0) -> Found:
    """Judge `count` mutations, or as many as there are in `seconds`; a process that fails is replaced."""
    found, number, started = Found(), first, time.monotonic()

    def over() -> bool:
        late = seconds is not None and time.monotonic() - started > seconds
        return late or (count is not None and number >= first + count)

    while not over():
        with tempfile.TemporaryDirectory() as place, _Worker(place, seed, number) as worker:
            whole = True
            while whole and not over():
                done = {"end": number, "kind": MUTATIONS[number % len(MUTATIONS)][1].__name__, **worker.next(found)}
                found.counts[done["kind"], done["outcome"]] += 1
                if done["outcome"] not in ("refused", "accepted"):
                    found.faults.append(done)
                whole = done["outcome"] in ("refused", "accepted", "other")
                number += 1
    return found


class _Worker:
    """The process that judges, and what it says."""

    def __init__(self, place: str, seed: str, number: int) -> None:
        root = Path(__file__).parents[2]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root), "XLA_FLAGS": XLA_FLAGS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", place, seed, str(number)],
            env=environment,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # panics of Rust code print there
            text=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self) -> "_Worker":
        if (line := self.lines.get(timeout=300)) is None or "begin" not in line:
            raise RuntimeError("the process that judges has not begun: run python -m tests.fuzz.worker FOLDER 0 0")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put(None)

    def next(self, found: Found) -> dict[str, Any]:
        """What became of the mutation that has begun; the next one begins after it."""
        begun, worked, before, printed = time.monotonic(), self._worked(), self._resident(), ""
        while True:
            try:
                line = self.lines.get(timeout=0.02)
            except queue.Empty:
                grown = self._resident() - before
                found.growth = max(found.growth, grown)
                if grown > _MEMORY:
                    return {"outcome": "memory"}
                if self._worked() - worked > _SECONDS or time.monotonic() - begun > 3 * _SECONDS:
                    return {"outcome": "hung"}
                continue
            if line is None:
                return {"outcome": "crashed", "status": self.process.wait()}
            if not line.startswith("{"):
                printed += line  # stdout belongs to the caller's results
            elif "end" in (said := json.loads(line)):
                taken = said["worked"]
                if taken > found.seconds:
                    found.seconds, found.slowest = taken, f"{said['end']} ({said['what']})"
                found.growth = max(found.growth, said["peak"] - before)
                if said["peak"] - before > _MEMORY:
                    said["outcome"] = "memory"
                return {**said, "outcome": "other", "error": f"printed {printed[:300]!r}"} if printed else said

    def _worked(self) -> float:
        try:
            times = psutil.Process(self.process.pid).cpu_times()
            return times.user + times.system
        except psutil.Error:  # it has just ended
            return 0.0

    def _resident(self) -> int:
        try:
            return psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:  # it has just ended
            return 0
