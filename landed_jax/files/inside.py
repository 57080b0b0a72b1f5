"""Only the ordinary files of a folder: links that lead out of it are not followed."""

import re
import shutil
from pathlib import Path

from landed_jax.errors import LandedError

_HUB_REPOSITORY = re.compile(r"(models|datasets|spaces)--.+")


def file_inside(folder: Path, name: str) -> Path | None:
    """The file `name` of a folder that somebody else may have made, or None where it is not there.

    A link may lead to another file of the folder, or into the store of a Hugging Face cache (``models--…/blobs``), from
    where the cache itself links.

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
    in_cache = real.parent.name == "blobs" and _HUB_REPOSITORY.fullmatch(real.parent.parent.name)
    if not real.is_relative_to(root) and not in_cache:
        raise LandedError(f"{path} is a link out of its folder, to {real}: put the file itself there.")
    return path


def copy_inside(folder: Path, name: str, to: Path) -> None:
    """Copy a file of a folder, where it is there, with its permissions; as `file_inside` finds it."""
    if (path := file_inside(folder, name)) is not None:
        try:
            shutil.copy(path, to / name)
        except PermissionError as error:
            raise LandedError(f"{path} cannot be read: {error.strerror}.") from error
