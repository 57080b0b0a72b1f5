"""Calls of Orbax with its log output suppressed and its errors shortened to one line."""

import contextlib
import errno
import gc
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from landed_jax.errors import first_line
from landed_jax.memory.shortage import is_out_of_memory

R = TypeVar("R")

# The folder that Orbax writes into, and what is in every message of TensorStore.
_OF_ORBAX = ("orbax-checkpoint-tmp", "tensorstore_spec")
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_OF_THE_SYSTEM = re.compile(r"os_error_code='(\d+)'")


def reason(error: Exception) -> str:
    """The operating system's reason in an exception of TensorStore; without one, the exception's first line.

    >>> reason(ValueError("OUT_OF_RANGE: Error writing 'a/b' [os_error_code='28']"))
    'No space left on device'
    """
    found = _OF_THE_SYSTEM.search(str(error))
    return os.strerror(int(found[1])) if found else first_line(error)


class StorageError(Exception):
    """A failure of Orbax, with a short message."""


def attempt(work: Callable[[], R]) -> R:
    """The result of a call of Orbax, inside `quiet`.

    Raises:
        StorageError: for any exception of the call (Orbax and TensorStore have many types for a full disk or a damaged
            folder), except for exhausted memory, which is raised unchanged.
    """
    try:
        return work()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        problem = reason(error)
    logging.getLogger("asyncio").addFilter(_is_news)  # adding the same filter twice has no effect
    raise StorageError(problem)


def _is_news(record: logging.LogRecord) -> bool:
    """False for asyncio's messages about what remains of a failed read or write, logged when it is collected."""
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    full = isinstance(error, OSError) and error.errno in _FULL
    return "never retrieved" not in message or not (full or any(word in message for word in _OF_ORBAX))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress Orbax's log output; failures are raised as exceptions.

    After a failure Orbax's other writes go on, fail because its event loop is closed, and would each print a traceback;
    those that never began would each print a warning when they are collected. The block waits for the first, collects
    the others, and suppresses both.
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
            try:
                yield
            except BaseException:
                last = time.monotonic()
                deadline = last + 10
                while (now := time.monotonic()) < deadline and now - last < 0.5:
                    gc.collect()  # coroutines are in reference cycles with the frames that made them
                    time.sleep(0.05)
                raise
    finally:
        logger.setLevel(level)
        sys.unraisablehook = hook
