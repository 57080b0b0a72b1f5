"""A study by several processes: each computes every so many batches, and the first takes all in their order.

So the store is that of one process, to the bit on equal machines: batches depend on the prompts alone, and are merged
in the same order. Of a model whose weights lie on devices of several processes all compute each batch together.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from landed_jax.errors import LandedError, listed
from landed_jax.exchange import Exchange
from landed_jax.manifest import differences
from landed_jax.processes import spans_processes
from landed_jax.studies._batches import Batch
from landed_jax.studies._progress import Progress, packed, restored_statistics, statistics_arrays, unpacked
from landed_jax.studies._runs import BatchNumbers, Run, Started

_AHEAD = 2  # batches of one process that may wait for the first process to take them


class Shares:
    """What one process does of a study, and what it says to the others.

    Args:
        messages: of this study.
    """

    def __init__(self, messages: Exchange, run: Run, manifest: Mapping[str, Any]) -> None:
        self.messages, self.run, self.manifest = messages, run, manifest
        self.first = messages.index == 0
        self.in_step = spans_processes(run.model.params)
        """Whether all processes compute each batch together, because the weights lie on devices of several."""

    def begin(self, opened: Callable[[], Progress]) -> Progress:
        """How far the study is, on every process: as the first one finds it.

        Raises:
            LandedError: if a process failed, or has another model or other settings than the first.
        """
        begun: list[Progress] = []

        def told() -> bytes:
            begun.append(opened())
            arrays = _told(begun[0], with_state=self.in_step)
            return packed(arrays | {"manifest": _text(json.dumps(self.manifest))})

        arrays = unpacked(self.messages.of_first("begin", told))
        apart = differences(self.manifest, json.loads(arrays["manifest"].tobytes()), ignored=("command",))
        if apart:
            raise LandedError(f"The processes were not asked for the same study: {listed(apart)}.")
        return begun[0] if self.first else self._restored(arrays)

    def end(self, progress: Progress, finish: Callable[[], None]) -> Progress:
        """The whole study on every process, after `finish` on the first.

        Raises:
            LandedError: if a process failed.
        """

        def told() -> bytes:
            finish()
            return packed(_told(progress, with_state=not self.in_step))

        data = self.messages.of_first("end", told)
        return progress if self.first or self.in_step else self._restored(unpacked(data))

    def numbers(self, progress: Progress) -> Iterator[BatchNumbers]:
        """The numbers of all batches that are left, in order; none on a process whose share goes to the first one.

        Raises:
            LandedError: if a process failed, or read other prompts than the first.
        """
        if self.in_step:
            for batch in self.run.reader.batches(progress.batches, progress.known):
                yield self.run.finish(batch, self.run.start(batch, one_by_one=True))
        elif self.first:
            yield from self._all(progress)
        else:
            self._send(progress)

    def _all(self, progress: Progress) -> Iterator[BatchNumbers]:
        begun, waiting = progress.batches, deque[tuple[int, Batch, Started | None]]()
        number, last = begun - 1, progress.known
        for number, batch in enumerate(self.run.reader.batches(begun, progress.known), begun):
            last = batch.window
            mine = self._owner(number) == 0
            waiting.append((number, batch, self.run.start(batch) if mine else None))
            if len(waiting) > self.messages.count:  # the next of its own is computed meanwhile
                yield self._next(*waiting.popleft())
        while waiting:
            yield self._next(*waiting.popleft())
        for after in range(number + 1, number + 1 + self.messages.count):
            if owner := self._owner(after):
                self._check(unpacked(self.messages.take(f"batch {after}")), owner, after, last)

    def _next(self, number: int, batch: Batch, started: Started | None) -> BatchNumbers:
        if started is not None:
            return self.run.finish(batch, started)
        arrays = unpacked(self.messages.take(f"batch {number}"))
        self.messages.put(f"taken {number}", b"1")
        self._check(arrays, self._owner(number), number, batch.window)
        rows = {name.removeprefix("rows/"): value for name, value in arrays.items() if name.startswith("rows/")}
        return BatchNumbers(batch, arrays["reasons"], rows, restored_statistics(arrays, self.run.variables))

    def _send(self, progress: Progress) -> None:
        begun, ahead = progress.batches, deque[tuple[int, Batch, Started]]()
        sent: deque[int] = deque()

        def send(number: int, batch: Batch, started: Started) -> None:
            if len(sent) == _AHEAD:
                self.messages.take(f"taken {sent.popleft()}")
            found = self.run.finish(batch, started)
            rows = {f"rows/{name}": values for name, values in found.rows.items()}
            arrays = {"reasons": found.reasons, **rows, **statistics_arrays(found.statistics)}
            self.messages.put(f"batch {number}", packed(arrays | _known_array(batch.window)))
            sent.append(number)

        number, last = begun - 1, progress.known
        for number, batch in enumerate(self.run.reader.batches(begun, progress.known), begun):
            last = batch.window
            if self._owner(number) == self.messages.index:
                ahead.append((number, batch, self.run.start(batch)))
                if len(ahead) > 1:
                    send(*ahead.popleft())
        while ahead:
            send(*ahead.popleft())
        after = next(
            n for n in range(number + 1, number + 1 + self.messages.count) if self._owner(n) == self.messages.index
        )
        self.messages.put(f"batch {after}", packed(_known_array(last)))

    def _owner(self, number: int) -> int:
        return number % self.messages.count

    def _check(self, arrays: Mapping[str, np.ndarray], owner: int, number: int, known: tuple[int, str] | None) -> None:
        if arrays["known"].tobytes() != _known_array(known)["known"].tobytes():
            name = self.run.reader.source.name
            raise LandedError(f"Processes 0 and {owner} read different prompts in {name}, at batch {number}.")

    def _restored(self, arrays: Mapping[str, np.ndarray]) -> Progress:
        told = json.loads(arrays["told"].tobytes())
        known = None if told["known"] is None else (told["known"][0], told["known"][1])
        if "state" not in arrays:
            found = Progress.begun(self.run.variables, len(self.run.reasons))
            found.batches, found.known = told["batches"], known
            return found
        found = Progress.restored(arrays["state"].tobytes(), self.run.variables, told["batches"], known)
        found.windows = [{} for _ in range(told["windows"])]
        for place, window in enumerate(found.windows):
            prefix = f"window {place}/"
            window |= {name.removeprefix(prefix): rows for name, rows in arrays.items() if name.startswith(prefix)}
        return found


def _told(progress: Progress, *, with_state: bool) -> dict[str, np.ndarray]:
    said = {"batches": progress.batches, "known": progress.known, "windows": len(progress.windows)}
    found = {"told": _text(json.dumps(said))}
    if with_state:
        found["state"] = np.frombuffer(progress.state(), np.uint8)
        for place, window in enumerate(progress.windows):
            found |= {f"window {place}/{name}": rows for name, rows in window.items()}
    return found


def _known_array(known: tuple[int, str] | None) -> dict[str, np.ndarray]:
    return {"known": _text(json.dumps(known))}


def _text(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)
