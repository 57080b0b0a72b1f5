"""Markdown tables of what `landed reproduce --json` measured: ``python -m benchmarks.claims_tables FILE.json …``.

They stand in ``docs/claims.md``, between the lines ``<!-- tables -->`` and ``<!-- end of tables -->``; ``--page`` puts
them there. A column is a model.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown
from landed_jax.report.numbers import significant


def tables(documents: Sequence[dict[str, Any]]) -> str:
    """A table a claim."""
    names = ["reading", "published", *(Path(document["model"]).name for document in documents)]
    parts, claims = [], dict.fromkeys(row["claim"] for row in documents[0]["readings"])
    for claim in claims:
        by_model = [[row for row in document["readings"] if row["claim"] == claim] for document in documents]
        parts.append(f"### {by_model[0][0]['statement']}")
        # Models of other depths name other layers: readings stand in one order.
        rows = [[same[0]["reading"], same[0]["published"], *map(_cell, same)] for same in zip(*by_model, strict=True)]
        parts.append(markdown.markdown(names, rows))
    return "\n\n".join(parts) + "\n"


def _cell(row: dict[str, Any]) -> str:
    unit = f" {row['unit']}" if row["unit"] in ("%", "×") else ""
    low, high = map(significant, row["interval"])
    value = f"{significant(row['value'])}{unit}" + ("" if low == high else f" ({low} to {high})")
    verdict = row["verdict"].removeprefix("does not apply: ")
    return f"{value}: {verdict}"


def run(arguments: Sequence[str]) -> int:
    """Print the tables, or put them into the page."""
    return markdown.run(tables, "claims.md", arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
