"""Only the ordinary files of a folder: links that lead out of it are not followed."""

import re
import shutil
from pathlib import Path

from landed_jax.errors import LandedError

_HUB_REPOSITORY = re.compile(r"(models|datasets|spaces)--.+")


def file_inside(folder: Path, name: str) -> Path | None:
    """The real path of the file `name` in an untrusted folder, links resolved; None if there is no such file.

    A link may lead to another file of the folder; in a Hugging Face cache also into the folder's own repository
    (``models--…/blobs``), where the files of its snapshots are.

    Raises:
        LandedError: if it is no ordinary file, or a link to somewhere else.
    """
    path = folder / name
    try:
        real, root = path.resolve(strict=True), folder.resolve(strict=True)
    except FileNotFoundError:
        if path.is_symlink():
            raise LandedError(f"{path} is a link to nothing.") from None
        return None
    except (OSError, RuntimeError) as error:  # a loop of links
        raise LandedError(f"{path} cannot be read: {error}.") from error
    if not real.is_file():
        raise LandedError(f"{path} is not an ordinary file.")
    if not real.is_relative_to(root) and real.parent not in (p / "blobs" for p in root.parents if _is_repository(p)):
        raise LandedError(f"{path} is a link out of its folder, to {real}: put the file itself there.")
    return real


def _is_repository(folder: Path) -> bool:
    return _HUB_REPOSITORY.fullmatch(folder.name) is not None


def copy_inside(folder: Path, name: str, to: Path) -> None:
    """Copy a file of a folder, where it is there, with its permissions; as `file_inside` finds it."""
    if (path := file_inside(folder, name)) is not None:
        try:
            shutil.copy(path, to / name)
        except PermissionError as error:
            raise LandedError(f"{path} cannot be read: {error.strerror}.") from error


def keep_private(src: Path, dst: Path) -> None:
    """Take from every file of `dst` the permissions for others that some file of `src` does not give."""
    given = 0o777
    for path in src.rglob("*"):
        if path.is_file():
            given &= path.stat().st_mode
    for path in dst.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode & (given | 0o700))
