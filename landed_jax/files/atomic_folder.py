"""A new folder that is there whole or not at all, and of one writer only."""

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import sync_folder
from landed_jax.files.unfinished import publishing, remove, unfinished

_UNFINISHED = re.compile(r"\..+\.unfinished-[0-9a-f]+", re.DOTALL)


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
def claimed(dst: Path) -> Iterator[None]:
    """Keep every other process and thread from writing `dst`, and remove what killed ones have left of it.

    The lock is a file beside `dst` that the system lets go of when the process ends, however it ends.

    Raises:
        LandedError: if `dst` exists, is being written by somebody else, or lies where nothing can be written.
    """
    dst = Path(dst).absolute()
    check_destination(dst)
    lock = _beside(dst, "lock")
    with _parents(dst):
        if lock.is_symlink() or (lock.exists() and lock.stat().st_size):
            raise LandedError(f"{lock} is in the way, and is no lock of this package's: move it away.")
        try:
            held = FileLock(lock, timeout=0).acquire()
        except Timeout:
            raise LandedError(
                f"{dst} is being written by another process or thread: wait for it, or name another folder."
            ) from None
        except OSError as error:
            raise LandedError(f"{dst} cannot be written: {error.strerror or error}.") from error
        try:
            with unfinished(lock):  # removed while it is held: who waits for it sees that, and makes another
                check_destination(dst)  # again, under the lock: another writer may have finished since the first check
                left = re.compile(re.escape(_beside(dst, "unfinished-").name) + "[0-9a-f]+")
                for name in filter(left.fullmatch, os.listdir(dst.parent)):
                    remove(dst.with_name(name))  # no live writer has these: every writer holds the lock
                yield
        finally:
            held.lock.release()


@contextlib.contextmanager
def new_folder(dst: Path) -> Iterator[Path]:
    """A folder to fill beside `dst`, which takes its name at the end, once all of it is on the disk.

    Raises:
        LandedError: if `dst` exists, is being written by somebody else, or cannot be written.
    """
    with claimed(dst), fill_folder(dst) as folder:
        yield folder


@contextlib.contextmanager
def fill_folder(dst: Path) -> Iterator[Path]:
    """`new_folder`, for who has `claimed` `dst` already."""
    dst = Path(dst).absolute()
    try:
        with unfinished(_beside(dst, f"unfinished-{secrets.token_hex(8)}")) as folder:
            folder.mkdir()
            mode = stat.S_IMODE(folder.stat().st_mode)
            folder.chmod(0o700)  # until every file in it has its own permissions
            yield folder
            folder.chmod(mode)
            _sync(folder)
            with publishing:
                check_destination(dst)
                folder.rename(dst)
        sync_folder(dst.parent)
    except OSError as error:
        raise LandedError(f"{dst} cannot be written: {error.strerror or error}.") from error


def _beside(dst: Path, what: str) -> Path:
    """A hidden name beside `dst`, of its own; one that is too long for that is shortened to its hash."""
    name = os.fsencode(dst.name)
    stem = dst.name if len(name) < 200 else hashlib.sha256(name).hexdigest()
    return dst.with_name(f".{stem}.{what}")


@contextlib.contextmanager
def _parents(dst: Path) -> Iterator[None]:
    """Make the folders above `dst`, and take away again those that are left empty."""
    missing = [parent for parent in dst.parents if not parent.exists()]
    try:
        try:
            dst.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LandedError(f"{dst} cannot be written: {error.strerror or error}.") from error
        yield
    finally:
        with contextlib.suppress(OSError):  # for a folder that another process has written to
            for parent in missing:
                parent.rmdir()


def _sync(folder: Path) -> None:
    """Bring every file of a folder to the disk: else a power cut could leave a name with nothing behind it."""
    for inside, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(inside, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(inside))
