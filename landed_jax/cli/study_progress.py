"""How far a study is: prompts, prompts a second, and the time left."""

import time
from collections.abc import Callable

from landed_jax.cli.progress import Status


def watched(status: Status, step: str = "Prompts") -> Callable[[int, int | None], None]:
    """What a study calls as prompts finish: the rate counts from the end of the first batch, which compiles."""
    began: list[tuple[float, int]] = []

    def watch(done: int, total: int | None) -> None:
        if not began:
            began.append((time.monotonic(), done))
            status(step)
        start, first = began[0]
        passed = time.monotonic() - start
        rate = (done - first) / passed if passed > 0 and done > first else 0.0
        note = f"{done:,}"
        if rate:
            note += f", {rate:,.0f} a second"
            if total:
                note += f", {_time(max(total - done, 0) / rate)} left"
        status.report(done, total or 0, note)

    return watch


def _time(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any.

    >>> _time(59.6), _time(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
