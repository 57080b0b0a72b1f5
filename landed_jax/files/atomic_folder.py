"""Atomic creation of a folder by a single writer."""

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
from landed_jax.files.kinds import status_of
from landed_jax.files.unfinished import publishing, remove, unfinished

_UNFINISHED = re.compile(r"\..+\.unfinished-[0-9a-f]+", re.DOTALL)


def check_destination(dst: Path) -> None:
    """Refuse an existing destination, and a name that no folder can have, before any work is done.

    Raises:
        LandedError: if `dst` exists, its name is too long or not UTF-8, which the libraries that write weights need.
    """
    try:
        str(dst).encode()
    except UnicodeEncodeError:
        raise LandedError(f"The path {dst} is not UTF-8, which the libraries that write models need.") from None
    if status_of(dst) is not None or os.path.lexists(dst):
        raise LandedError(f"{dst} is already there, and nothing is overwritten: name a new folder or move it away.")


def is_unfinished(folder: Path) -> bool:
    """Whether the folder's name is that of an unfinished `new_folder`, left by a killed process."""
    return _UNFINISHED.fullmatch(folder.name) is not None


@contextlib.contextmanager
def claimed(dst: Path, job: str | None = None) -> Iterator[None]:
    """Exclude every other process and thread from writing `dst`, and remove unfinished folders of killed ones.

    The lock is on a file beside `dst`; the system releases it when the process ends, by whatever cause.

    Args:
        job: whose unfinished folder stays, as for `new_folder`.

    Raises:
        LandedError: if `dst` exists, is being written by another process or thread, or its parent is not writable.
    """
    dst = Path(dst).absolute()
    check_destination(dst)
    with sole_writer(dst):
        check_destination(dst)  # again, under the lock: another writer may have finished since the first check
        left = re.compile(re.escape(_beside(dst, "unfinished-").name) + "[0-9a-f]+")
        own = None if job is None else _beside(dst, f"unfinished-{job}").name
        for name in filter(left.fullmatch, os.listdir(dst.parent)):
            if name == own:
                continue
            remove(dst.with_name(name))  # these belong to killed processes: a live writer would have the lock
        yield


@contextlib.contextmanager
def sole_writer(dst: Path) -> Iterator[None]:
    """Exclude every other process and thread from writing `dst`, a folder that may be there.

    The lock is on a file beside `dst`; the system releases it when the process ends, by whatever cause.

    Raises:
        LandedError: if `dst` is being written by another process or thread, or its parent is not writable.
    """
    dst = Path(dst).absolute()
    status_of(dst.parent)
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
            with unfinished(lock):  # removed before it is released: a waiting process notices and creates a new one
                yield
        finally:
            held.lock.release()


@contextlib.contextmanager
def new_folder(dst: Path, job: str | None = None) -> Iterator[Path]:
    """A folder to fill, beside `dst`; it is renamed to `dst` at the end, after all of it is synced to the disk.

    Args:
        job: hexadecimal digits that say what is written. An interrupted process's folder for the same job is given
            again, with what is in it, if `files.parts` kept it.

    Raises:
        LandedError: if `dst` exists, is being written by another process or thread, or cannot be written.
    """
    with claimed(dst, job), fill_folder(dst, job) as folder:
        yield folder


@contextlib.contextmanager
def fill_folder(dst: Path, job: str | None = None) -> Iterator[Path]:
    """`new_folder` for a caller that has `claimed` `dst` already."""
    dst = Path(dst).absolute()
    try:
        with unfinished(_beside(dst, f"unfinished-{job or secrets.token_hex(8)}")) as folder:
            folder.mkdir(exist_ok=job is not None)
            mode = _mode_of_new(folder)
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
    """A hidden name beside `dst`, derived from its name, or from its hash where the name is too long."""
    name = os.fsencode(dst.name)
    stem = dst.name if len(name) < 200 else hashlib.sha256(name).hexdigest()
    return dst.with_name(f".{stem}.{what}")


def _mode_of_new(folder: Path) -> int:
    """The permissions that a new folder gets here."""
    (probe := folder / "probe").mkdir(exist_ok=True)
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.rmdir()
    return mode


@contextlib.contextmanager
def _parents(dst: Path) -> Iterator[None]:
    """Create the parents of `dst`, and remove those that are empty at the end."""
    missing = [parent for parent in dst.parents if not parent.exists()]
    try:
        try:
            dst.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LandedError(f"{dst} cannot be written: {error.strerror or error}.") from error
        yield
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # another process may have written to the folder
                parent.rmdir()


def _sync(folder: Path) -> None:
    """Sync every file of a folder to the disk: a power cut after the rename could otherwise leave empty files."""
    for inside, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(inside, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(inside))
