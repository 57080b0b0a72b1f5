"""A file that is there whole or not at all."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from landed_jax.errors import LandedError
from landed_jax.files.unfinished import publishing, unfinished


def write_file(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` to a file, in place of what was there: a reader sees the old file or the new one, never a part.

    The data is on the disk before the name is. A file that is replaced keeps its permissions. A link is followed: the
    file that it names is replaced. A pipe or a device is written to as it is.

    Raises:
        LandedError: if it cannot be written; what was there stays.

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
        if before is not None and not stat.S_ISREG(before.st_mode):  # a pipe or a device: nothing to replace
            target.write_bytes(data)
            return
        _replace(target, data, None if before is None else stat.S_IMODE(before.st_mode))
    except OSError as error:
        raise LandedError(f"{path} cannot be written: {error.strerror or error}.") from error


def _replace(target: Path, data: bytes | memoryview, mode: int | None) -> None:
    temporary = target.with_name(f".landed-{secrets.token_hex(8)}.unfinished")
    with unfinished(temporary):
        # The kernel takes the umask off; a mode that is kept is set before anything is in the file.
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
    """Bring a folder's names to the disk, where the system can say so (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
