"""What stands at a path: a folder, an ordinary file of a sane size, or nothing. Nothing is opened."""

import os
import stat
from pathlib import Path

from landed_jax.errors import LandedError, cut


def status_of(path: Path) -> os.stat_result | None:
    """What the system says of a file or folder, links followed; None if there is none.

    Raises:
        LandedError: if it cannot say: the name is too long, holds NUL, leads through a loop of links or a folder that
            may not be entered.

    >>> status_of(Path("no such file")) is None
    True
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        name = path if len(str(path)) < 250 else cut(str(path), 52)
        raise LandedError(f"{name} cannot be used: {why}.") from error


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with ``~`` as the user's home.

    Raises:
        LandedError: for the home of a user who has none here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise LandedError(f"There is no folder {os.fspath(path)!r}: its user has no home here.") from None


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`, links followed.

    Raises:
        LandedError: as `status_of` does.
    """
    found = status_of(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_ordinary(path: Path, limit: int | None = None) -> bool:
    """Whether there is a file at `path`, links followed.

    Args:
        limit: the most bytes that the file may have.

    Raises:
        LandedError: if what is there is a folder, a pipe, a device or a link to nothing, or is larger than the limit:
            reading it might never end, or take all memory. And as `status_of` does.

    >>> is_ordinary(Path("no such file"))
    False
    """
    found = status_of(path)
    if found is None:
        if path.is_symlink():
            raise LandedError(f"{path} is a link to nothing.")
        return False
    if not stat.S_ISREG(found.st_mode):
        raise LandedError(f"{path} is not an ordinary file.")
    if limit is not None and found.st_size > limit:
        size, most = (f"{n / 2**20:,.0f} MiB" for n in (found.st_size, limit))
        raise LandedError(f"{path} has {size}, and no such file of a model has more than {most}.")
    return True
