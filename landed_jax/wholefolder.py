"""A new folder, there whole or not at all."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from landed_jax.errors import LandedError

_UNFINISHED = re.compile(r"\..+\.unfinished-(\d+)")


def check_destination(dst: Path) -> None:
    """Refuse to write where something is, before any work is done.

    Raises:
        LandedError: if `dst` exists.
    """
    if os.path.lexists(dst):
        raise LandedError(f"{dst} is already there, and nothing is overwritten: name a new folder or move it away.")


def is_unfinished(folder: Path) -> bool:
    """Whether this is what a killed process left of a `new_folder`."""
    return _UNFINISHED.fullmatch(folder.name) is not None


@contextlib.contextmanager
def new_folder(dst: Path) -> Iterator[Path]:
    """A folder to fill beside `dst`, which takes its name at the end; what killed processes left there goes first.

    Raises:
        LandedError: if `dst` exists or cannot be written.
    """
    dst = Path(dst).absolute()
    check_destination(dst)
    unfinished = dst.with_name(f".{dst.name}.unfinished-{os.getpid()}")
    try:
        dst.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(dst)
        unfinished.mkdir()
        yield unfinished
        check_destination(dst)
        unfinished.rename(dst)
    except OSError as error:
        raise LandedError(f"{dst} cannot be written: {error}.") from error
    finally:
        _remove(unfinished)


def _remove(folder: Path) -> None:
    for _ in range(50):  # after a failure Orbax's threads may still be writing
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _remove_stale(dst: Path) -> None:
    for folder in dst.parent.glob(f".{dst.name}.unfinished-*"):
        match = _UNFINISHED.fullmatch(folder.name)
        if match and not _is_alive(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return pid != os.getpid()  # a killed run may have had the number that this one has now
