"""Access to the ordinary files of an untrusted folder. Links that lead out of it are not followed."""

import re
import shutil
from pathlib import Path

from landed_jax.errors import LandedError
from landed_jax.files.kinds import is_ordinary

_HUB_REPOSITORY = re.compile(r"(models|datasets|spaces)--.+")


def file_inside(folder: Path, name: str) -> Path | None:
    """The real path of the file `name` in an untrusted folder, links resolved; None if there is no such file.

    A link may lead to another file of the folder, and in a Hugging Face cache also to the repository that the folder
    belongs to (``models--…/blobs``), where the files of its snapshots are stored.

    Raises:
        LandedError: if it is not an ordinary file, or is a link to another place.
    """
    path = folder / name
    if not is_ordinary(path):
        return None
    real, root = path.resolve(strict=True), folder.resolve(strict=True)
    if not real.is_relative_to(root) and real.parent not in (p / "blobs" for p in root.parents if _is_repository(p)):
        raise LandedError(f"{path} is a link out of its folder, to {real}: put the file itself there.")
    return real


def _is_repository(folder: Path) -> bool:
    return _HUB_REPOSITORY.fullmatch(folder.name) is not None


def copy_inside(folder: Path, name: str, to: Path) -> None:
    """Copy a file of a folder with its permissions, if it exists; the file is found by `file_inside`."""
    if (path := file_inside(folder, name)) is not None:
        try:
            shutil.copy(path, to / name)
        except PermissionError as error:
            raise LandedError(f"{path} cannot be read: {error.strerror}.") from error


def keep_private(src: Path, dst: Path) -> None:
    """Remove from every file of `dst` the group and other permissions that `src`, or any file in it, lacks."""
    given = 0o777
    for path in (src, *src.rglob("*")):
        if path.is_file():
            given &= path.stat().st_mode
    for path in dst.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode & (given | 0o700))
