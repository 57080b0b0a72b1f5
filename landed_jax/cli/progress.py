"""What a command is doing, and for how long, on stderr.

On a terminal a line that moves: the step, its bar where the end is known, the seconds it has taken. It is removed when
the command has done. Where stderr is no terminal (a file, a pipe, a batch job) or cannot move its cursor, one plain
line for each step that takes longer than `PATIENCE` seconds, and nothing for the others.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from landed_jax.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from landed_jax.testbed.training import Progress as Training

Report = Callable[[int, int], None]
"""``report(done, total)``."""

PATIENCE = 10.0
"""Seconds after which a step is mentioned where there is no terminal."""


class Status(Protocol):
    """``status("Compiling")`` begins a step, and ends the one before; ``status.report(done, total)`` is inside one."""

    def __call__(self, step: str) -> None: ...

    def report(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def status_line(first: str) -> Iterator[Status]:
    """The status during the block, which begins with a first step."""
    if not _moves():
        plain = _Lines(first)
        try:
            yield plain
        finally:
            plain.end()
        return
    with _progress() as progress:
        yield _Moving(progress, first)


def _moves() -> bool:
    """Whether stderr is a terminal on which a line can be rewritten; variables that CI systems set make it none."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    from rich.console import Console

    console = Console(stderr=True)
    return console.is_terminal and console.is_interactive


def _progress() -> "Progress":
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class KnownEnd(ProgressColumn):
        """The bar of a step whose end is known, and nothing for another."""

        bar = BarColumn(bar_width=20)

        def render(self, task: Task) -> RenderableType:
            return self.bar.render(task) if task.total else Text()

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), KnownEnd(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Moving:
    def __init__(self, progress: "Progress", first: str) -> None:
        self._progress = progress
        self._begin(first)

    def __call__(self, step: str) -> None:
        self._progress.remove_task(self._task)
        self._begin(step)

    def _begin(self, step: str) -> None:
        self._step = printable(step)
        self._task = self._progress.add_task(self._step, total=None)

    def report(self, done: int, total: int, note: str = "") -> None:
        said = f"{self._step}, {printable(note)}" if note else self._step
        self._progress.update(self._task, completed=done, total=total, description=said)


class _Lines:
    def __init__(self, first: str) -> None:
        self._timer = self._start(first)

    def __call__(self, step: str) -> None:
        self.end()
        self._timer = self._start(step)

    def report(self, done: int, total: int, note: str = "") -> None:
        """Nothing: a line for each piece would fill the log."""

    def end(self) -> None:
        self._timer.cancel()

    @staticmethod
    def _start(step: str) -> threading.Timer:
        line = f"landed: {printable(step)}: {PATIENCE:.0f} seconds so far"
        timer = threading.Timer(PATIENCE, click.echo, [line], {"err": True})
        timer.daemon = True
        timer.start()
        return timer


@contextmanager
def training_bar(steps: int) -> Iterator["Callable[[Training], None]"]:
    """A bar with the loss, and a line with the held-out accuracy of each task after each measurement."""
    with status_line("Compiling one step of the training") as status:
        started = False

        def watch(seen: "Training") -> None:
            nonlocal started
            if not started:
                status(f"Training for {steps} steps")
                started = True
            status.report(seen.step, steps, f"loss {seen.loss:.3f}")
            if seen.scores is not None:
                # Not click.echo: Rich has put a stream in stderr's place that writes above the moving line.
                print(f"step {seen.step}: loss {seen.loss:.3f}; held out: {summary(seen)}", file=sys.stderr)

        def summary(seen: "Training") -> str:
            tasks: dict[str, list[float]] = {}
            for score in seen.scores or []:
                tasks.setdefault(score.task, []).append(score.judged)
            return ", ".join(f"{name} {sum(found) / len(found):.1%}" for name, found in tasks.items())

        yield watch
