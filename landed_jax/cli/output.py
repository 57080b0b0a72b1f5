"""Writing a JSON document: whole or not at all."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click

from landed_jax.errors import LandedError


def check_json_target(target: str | None) -> None:
    """Say early that a file cannot be written, before the long work.

    Raises:
        LandedError: if the folder is not there, or the target is a folder.
    """
    if target in (None, "-"):
        return
    path = Path(target)
    if path.is_dir():
        raise LandedError(f"--json {target} is a folder: name a file in it, or - for standard output.")
    if not path.parent.is_dir():
        raise LandedError(f"--json {target}: the folder {path.parent} does not exist.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise LandedError(f"--json {target}: it cannot be written there.")


def write_json(document: dict[str, Any], target: str) -> None:
    """Write to a file, replacing it at once, or to standard output for ``-``."""
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise LandedError("The model's values are not all finite, so they cannot be written as JSON.") from error
    if target == "-":
        click.echo(text, nl=False)
        return
    path = Path(target).resolve()  # through a link, to what it names
    if path.exists() and not path.is_file():  # a pipe or a device: nothing to replace
        path.write_text(text, encoding="utf-8")
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".landed-", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's own mode would hide the file from others
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
