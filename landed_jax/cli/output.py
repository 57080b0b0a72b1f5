"""Atomic output of a JSON document."""

import os
import sys
from pathlib import Path

import click

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import write_file
from landed_jax.files.kinds import is_folder


def check_json_target(target: str | None) -> None:
    """Check that a file can be written, before the computation.

    Raises:
        LandedError: if the folder does not exist or is not writable, or the target is a folder.
    """
    if target in (None, "-"):
        return
    path = Path(target)
    if is_folder(path):
        raise LandedError(f"--json {target} is a folder: name a file in it, or - for standard output.")
    if not is_folder(path.parent):
        raise LandedError(f"--json {target}: the folder {path.parent} does not exist.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise LandedError(f"--json {target}: it cannot be written there.")


def encoding_of(target: str) -> str:
    """The encoding of text for a file, or for standard output (``-``)."""
    return (getattr(sys.stdout, "encoding", None) if target == "-" else None) or "utf-8"


def write_text(text: str, target: str) -> None:
    """Write to a file, atomically, or to standard output for ``-``."""
    if target == "-":
        click.echo(text, nl=False)
    else:
        write_file(target, text.encode("utf-8"))
