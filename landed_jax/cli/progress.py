"""Progress on stderr, shown only to a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landed_jax.testbed.training import Progress as Training

Report = Callable[[int, int], None]
"""``report(done, total)``."""


@contextmanager
def progress_bar(what: str) -> Iterator[Report]:
    """A bar that is removed at the end of the block."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield report


@contextmanager
def training_bar(steps: int) -> Iterator["Callable[[Training], None]"]:
    """A bar with the loss, and a line with the held-out accuracy of each task after each measurement."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("loss {task.fields[loss]:.3f}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=steps, loss=float("nan"))

        def watch(seen: "Training") -> None:
            progress.update(task, completed=seen.step, loss=seen.loss)
            if seen.scores is not None:
                console.print(f"step {seen.step}: loss {seen.loss:.3f}; held out: {summary(seen)}", highlight=False)

        def summary(seen: "Training") -> str:
            tasks: dict[str, list[float]] = {}
            for score in seen.scores or []:
                tasks.setdefault(score.task, []).append(score.judged)
            return ", ".join(f"{name} {sum(found) / len(found):.1%}" for name, found in tasks.items())

        yield watch
