"""Atomic output of a JSON document."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import write_file
from landed_jax.files.json_text import json_text


def check_json_target(target: str | None) -> None:
    """Check that a file can be written, before the computation.

    Raises:
        LandedError: if the folder does not exist or is not writable, or the target is a folder.
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
    """Write to a file, atomically, or to standard output for ``-``."""
    if target == "-":
        click.echo(json_text(document, getattr(sys.stdout, "encoding", None) or "utf-8"), nl=False)
    else:
        write_file(target, json_text(document).encode("utf-8"))
