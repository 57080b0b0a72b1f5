"""Orbax, kept from writing to the user's screen."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


def first_line(error: Exception) -> str:
    """What an exception of Orbax says, without the pages that may follow."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Orbax's log lines off the user's screen: what matters comes back as an exception."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
