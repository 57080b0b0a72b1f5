"""Markdown tables, and their place in a page of the documentation."""

from collections.abc import Sequence
from pathlib import Path

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


def put(page: str, tables: str) -> None:
    """Replace what stands between `BEGIN` and `END` in a page of the documentation."""
    path = DOCS / page
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_file(path, f"{before}{BEGIN}\n\n{tables}\n{END}{after}".encode())
