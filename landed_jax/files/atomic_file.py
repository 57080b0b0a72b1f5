"""Atomic replacement of one file."""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from landed_jax.errors import LandedError
from landed_jax.files.kinds import status_of
from landed_jax.files.unfinished import publishing, unfinished

_TOGETHER = 16  # files that are synced at a time
_UNFINISHED = re.compile(r"\.landed-[0-9a-f]{16}\.unfinished")


def write_file(path: str | os.PathLike[str], data: bytes | memoryview, *, sync: bool = True) -> None:
    """Write `data` to a file, atomically: a reader sees the old file or the new one, never a part.

    The data is synced to the disk before the file takes its name. A replaced file keeps its permissions. A link is
    followed, and its target is replaced. A pipe or a device is written to directly.

    Args:
        sync: False for one of many files, which `sync_files` then syncs together.

    Raises:
        LandedError: if it cannot be written; an old file is then unchanged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(f"{folder}/a", b"whole")
    ...     Path(folder, "a").read_bytes(), os.listdir(folder)
    (b'whole', ['a'])
    """
    before = status_of(Path(path))
    target = Path(path).resolve()
    try:
        if before is not None and not stat.S_ISREG(before.st_mode):  # a pipe or a device cannot be replaced
            target.write_bytes(data)
            return
        _replace(target, data, None if before is None else stat.S_IMODE(before.st_mode), sync)
    except OSError as error:
        raise LandedError(f"{path} cannot be written: {error.strerror or error}.") from error


def _replace(target: Path, data: bytes | memoryview, mode: int | None, sync: bool) -> None:
    remove_abandoned(target.parent)
    with contextlib.ExitStack() as stack:
        temporary, handle = _create(target.parent, 0o666 if mode is None else mode & 0o600, stack)
        with os.fdopen(handle, "wb") as file:
            if mode is not None:  # set before the file has any content
                os.chmod(temporary, mode)
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        with publishing:
            os.replace(temporary, target)
    if sync:
        sync_folder(target.parent)


def sync_files(paths: Iterable[Path]) -> None:
    """Sync files and their folders to the disk, several at a time: the system writes them down together.

    Raises:
        LandedError: where one cannot be.
    """
    paths = list(paths)

    def sync(path: Path) -> None:
        with open(path, "rb") as file:
            os.fsync(file.fileno())

    with ThreadPoolExecutor(_TOGETHER) as pool:
        try:
            list(pool.map(sync, paths))
        except OSError as error:
            raise LandedError(f"{error.filename or paths[0]} cannot be written: {error.strerror or error}.") from error
        list(pool.map(sync_folder, {path.parent for path in paths}))


def _create(folder: Path, mode: int, stack: contextlib.ExitStack) -> tuple[Path, int]:
    """A new unfinished file, open for writing; until the end of `stack` it is locked, and is then removed."""
    while True:
        path = stack.enter_context(unfinished(folder / f".landed-{secrets.token_hex(8)}.unfinished"))
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)  # the kernel applies the umask
        if _lock(handle, wait=True):  # until the last descriptor is closed
            stack.callback(os.close, os.dup(handle))
        if path.exists():  # before it was locked, another process may have taken it for abandoned
            return path, handle
        os.close(handle)


def remove_abandoned(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder.

    A living writer holds a lock on its file, which the system releases when the process ends, by whatever cause. Where
    files cannot be locked (Windows, some network disks), nothing is removed.
    """
    with contextlib.suppress(OSError):  # a folder that may be written but not listed
        for name in filter(_UNFINISHED.fullmatch, os.listdir(folder)):
            _remove_if_abandoned(folder / name)


def _remove_if_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError):  # a file of another user, or one that was just removed
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if _lock(handle, wait=False) and stat.S_ISREG(os.fstat(handle).st_mode):
                os.unlink(path)
        finally:
            os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file; False where it is locked already, or cannot be."""
    try:
        import fcntl
    except ImportError:  # on Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk, where the system supports it (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
