"""A register of files and folders that are being written, so that an interrupted process can remove them."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_unfinished: set[Path] = set()

publishing = threading.Lock()
"""Locked during a rename to the final name. The thread that removes unfinished files and ends the process keeps it."""


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Remove `path`, a file or a folder, when the block ends, or when `remove_unfinished` is called before.

    After `keep` it is removed only when an error ends the block: what is interrupted then leaves it.
    """
    _unfinished.add(path)
    try:
        yield path
    except Exception:
        _unfinished.add(path)
        raise
    finally:
        if path in _unfinished:
            remove(path)
        _unfinished.discard(path)


def keep(path: Path) -> None:
    """Leave an unfinished folder where the process is interrupted: another goes on with what is finished in it."""
    _unfinished.discard(path)


def remove_unfinished() -> None:
    """Remove everything that is being written, in a process that ends before its `unfinished` blocks do.

    Acquire `publishing` before, and do not release it: another thread could otherwise rename an emptied folder.
    """
    for path in list(_unfinished):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    for _ in range(50):  # after a failure Orbax's threads may still be writing into a folder
        with contextlib.suppress(OSError):
            os.unlink(path)
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(0.1)
