"""Atomic replacement of one file."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from landed_jax.errors import LandedError
from landed_jax.files.unfinished import publishing, unfinished


def write_file(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` to a file, atomically: a reader sees the old file or the new one, never a part.

    The data is synced to the disk before the file takes its name. A replaced file keeps its permissions. A link is
    followed, and its target is replaced. A pipe or a device is written to directly.

    Raises:
        LandedError: if it cannot be written; an old file is then unchanged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(f"{folder}/a", b"whole")
    ...     Path(folder, "a").read_bytes(), os.listdir(folder)
    (b'whole', ['a'])
    """
    target = Path(path).resolve()
    try:
        before = None
        with contextlib.suppress(FileNotFoundError):
            before = target.stat()
        if before is not None and not stat.S_ISREG(before.st_mode):  # a pipe or a device cannot be replaced
            target.write_bytes(data)
            return
        _replace(target, data, None if before is None else stat.S_IMODE(before.st_mode))
    except OSError as error:
        raise LandedError(f"{path} cannot be written: {error.strerror or error}.") from error


def _replace(target: Path, data: bytes | memoryview, mode: int | None) -> None:
    temporary = target.with_name(f".landed-{secrets.token_hex(8)}.unfinished")
    with unfinished(temporary):
        # The kernel applies the umask. A mode that is kept is set before the file has any content.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode & 0o600)
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with publishing:
            os.replace(temporary, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk, where the system supports it (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
