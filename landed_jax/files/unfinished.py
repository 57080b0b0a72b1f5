"""What is being written now, so that a process that ends at once can still take it away."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_unfinished: set[Path] = set()

publishing = threading.Lock()
"""Held while something finished takes its name. Who takes away what is unfinished, and ends the process, keeps it."""


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Remove `path`, a file or a folder, when the block ends, or when `remove_unfinished` is called before."""
    _unfinished.add(path)
    try:
        yield path
    finally:
        remove(path)
        _unfinished.discard(path)


def remove_unfinished() -> None:
    """Remove everything that is being written: for a process that will not come back to its blocks.

    Take `publishing` before, and keep it: another thread might give what is left of its folder the name.
    """
    for path in list(_unfinished):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or folder that may not be there."""
    for _ in range(50):  # after a failure Orbax's threads may still be writing into a folder
        with contextlib.suppress(OSError):
            os.unlink(path)
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(0.1)
