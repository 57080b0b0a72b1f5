"""Orbax, kept from writing to the user's screen, and its errors in a few words."""

import contextlib
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
            damaged folder); lack of memory stays what it is.
    """
    try:
        return work()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        problem = reason(error)
    logging.getLogger("asyncio").addFilter(_is_news)  # once: the same filter is not added twice
    raise StorageError(problem)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether asyncio's record is more than another write of a failed save, which says so when it is collected."""
    message = record.getMessage()
    return "never retrieved" not in message or "orbax-checkpoint-tmp" not in message


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what Orbax logs off the user's screen: what matters comes back as an exception.

    After a failure its other writes go on and find its event loop closed, and each would print a traceback. They are
    waited for.
    """
    logger = logging.getLogger("absl")
    level, hook, last = logger.level, sys.unraisablehook, time.monotonic()

    def without_stragglers(raised: Any) -> None:
        nonlocal last
        if raised.exc_type is RuntimeError and str(raised.exc_value) == "Event loop is closed":
            last = time.monotonic()
        else:
            hook(raised)

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
        logger.setLevel(level)
        sys.unraisablehook = hook
