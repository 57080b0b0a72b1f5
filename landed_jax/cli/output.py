"""A result as tables and as a JSON document, which is written atomically; the command that asked for it."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landed_jax.cli.hosts import is_first
from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import write_file
from landed_jax.files.kinds import is_folder

if TYPE_CHECKING:
    from landed_jax.tables.table import Block


def check_json_target(target: str | None) -> None:
    """Check that a file of ``--json`` can be written, before the computation.

    Raises:
        LandedError: as `check_target` does.
    """
    if target != "-":
        check_target("--json", target, " in it, or - for standard output")


def check_target(option: str, target: str | None, instead: str = " in it") -> None:
    """Check that a file can be written, before the computation.

    Raises:
        LandedError: if the folder does not exist or is not writable, or the target is a folder.
    """
    if target is None or not is_first():
        return
    path = Path(target)
    if is_folder(path):
        raise LandedError(f"{option} {target} is a folder: name a file{instead}.")
    if not is_folder(path.parent):
        raise LandedError(f"{option} {target}: the folder {path.parent} does not exist.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise LandedError(f"{option} {target}: it cannot be written there.")


def encoding_of(target: str) -> str:
    """The encoding of text for a file, or for standard output (``-``)."""
    return (getattr(sys.stdout, "encoding", None) if target == "-" else None) or "utf-8"


def write_text(text: str, target: str) -> None:
    """Write to a file, atomically, or to standard output for ``-``; of several processes the first does."""
    if not is_first():
        return
    if target == "-":
        click.echo(text, nl=False)
    else:
        write_file(target, text.encode("utf-8"))


def show_result(
    json_target: str | None, document: Callable[[], Mapping[str, Any]], report: Callable[[], "Sequence[Block]"]
) -> None:
    """Write a result's JSON, where it was asked for, and print its tables, unless the JSON goes to standard output."""
    from landed_jax.files.json_text import json_text
    from landed_jax.report.console import print_report

    if json_target is not None:
        write_text(json_text(document(), encoding_of(json_target)), json_target)
    if json_target != "-":
        print_report(report())


def command_line() -> str:
    """The command that is running, as a shell reads it."""
    return shlex.join(["landed", *sys.argv[1:]])
