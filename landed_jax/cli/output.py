"""Atomic output of a JSON document."""

import json
import os
from pathlib import Path
from typing import Any

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


def json_text(document: dict[str, Any], *, in_one_line: bool = False) -> str:
    """The document as JSON, with a newline at its end.

    Raises:
        LandedError: for numbers that are not finite.
    """
    try:
        indent = None if in_one_line else 2
        text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise LandedError("The model's values are not all finite, so they cannot be written as JSON.") from error
    # JSON escapes only C0 controls. Other controls and bidirectional overrides would act on a terminal.
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def write_text(text: str, target: str) -> None:
    """Write to a file, atomically, or to standard output for ``-``."""
    if target == "-":
        click.echo(text, nl=False)
    else:
        write_file(target, text.encode("utf-8"))


def write_json(document: dict[str, Any], target: str) -> None:
    """Write a document to a file, atomically, or to standard output for ``-``."""
    write_text(json_text(document), target)
