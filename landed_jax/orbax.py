"""Orbax, kept from writing to the user's screen, and its errors in a few words."""

import contextlib
import gc
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from landed_jax.memory.shortage import is_out_of_memory

R = TypeVar("R")

_OF_THE_SYSTEM = re.compile(r"os_error_code='(\d+)'")


def first_line(error: Exception) -> str:
    """What an exception of a library says, without the pages that may follow."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def reason(error: Exception) -> str:
    """The operating system's reason in an exception of TensorStore, or else its first line.

    >>> reason(ValueError("OUT_OF_RANGE: Error writing 'a/b' [os_error_code='28']"))
    'No space left on device'
    """
    found = _OF_THE_SYSTEM.search(str(error))
    return os.strerror(int(found[1])) if found else first_line(error)


class StorageError(Exception):
    """What Orbax could not do, in a few words."""


def attempt(work: Callable[[], R]) -> R:
    """The result of a call of Orbax, inside `quiet`.

    Raises:
        StorageError: for whatever else the call raises (Orbax and TensorStore have many types for a full disk or a
            damaged folder), once it holds nothing any more; lack of memory stays what it is.
    """
    try:
        return work()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        problem = reason(error)
    gc.collect()  # what was not waited for says so when it is collected: here, where that is not shown
    raise StorageError(problem)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what Orbax logs off the user's screen: what matters comes back as an exception.

    After a failure its other writes go on and find its event loop closed, and each would print a traceback. They are
    waited for.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels, hook, last = [logger.level for logger in loggers], sys.unraisablehook, time.monotonic()

    def without_stragglers(raised: Any) -> None:
        nonlocal last
        if raised.exc_type is RuntimeError and str(raised.exc_value) == "Event loop is closed":
            last = time.monotonic()
        else:
            hook(raised)

    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    sys.unraisablehook = without_stragglers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BaseException:
        last = time.monotonic()
        deadline = last + 10
        while (now := time.monotonic()) < deadline and now - last < 0.5:
            time.sleep(0.05)
        raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        sys.unraisablehook = hook
