"""Markdown tables, and their place in a page of the documentation."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from landed_jax.files.atomic_file import write_file

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def markdown(names: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table; all columns but the first `left` are numbers, on the right.

    >>> print(markdown(["head", "effect"], [["2.7", "3.97"]]))
    | head | effect |
    | --- | --: |
    | 2.7 | 3.97 |
    """
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (names, *rows)]
    lines = [cells[0], ["---"] * left + ["--:"] * (len(names) - left), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put(page: str, tables: str, *, merge: bool = False) -> None:
    """Replace what stands between `BEGIN` and `END` in a page of the documentation.

    Args:
        merge: replace only the sections (from one line ``### …`` to the next) that are in `tables` too, and put new
            ones after the others.
    """
    path = DOCS / page
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    there, _, after = rest.partition(END)
    if merge:
        tables = "\n\n".join((_sections(there) | _sections(tables)).values()) + "\n"
    write_file(path, f"{before}{BEGIN}\n\n{tables}\n{END}{after}".encode())


def _sections(tables: str) -> dict[str, str]:
    parts = re.split(r"^(?=### )", tables, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.strip() for part in parts if part.startswith("### ")}


def run(
    tables: Callable[[Sequence[dict[str, Any]]], str], page: str, arguments: Sequence[str], *, merge: bool = False
) -> int:
    """The command of a script of tables: print those of JSON files, or with ``--page`` put them into their page."""
    parser = argparse.ArgumentParser(description=sys.modules[tables.__module__].__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="What the command's --json FILE wrote.")
    parser.add_argument("--page", action="store_true", help=f"Put the tables into docs/{page}.")
    options = parser.parse_args(arguments)
    made = tables([json.loads(file.read_text("utf-8")) for file in options.files])
    if options.page:
        put(page, made, merge=merge)
    else:
        sys.stdout.write(made)
    return 0
