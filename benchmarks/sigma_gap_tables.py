"""Markdown tables of studies that kept ``sigma_gap``: ``python -m benchmarks.sigma_gap_tables FILE.json …``.

A file is what ``landed study … --keep sigma_gap --json FILE`` wrote, or ``landed merge`` of several. The tables stand
in ``docs/frozen_sigma.md``, between the lines ``<!-- tables -->`` and ``<!-- end of tables -->``; ``--page`` puts them
there.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown
from landed_jax.report.sigma_gap import BY_LAYER, by_layer, pooled, split
from landed_jax.results.measures import COMPONENTS

_FEWEST = 40  # prompts that have quarters: ten in each


def tables(documents: Sequence[dict[str, Any]]) -> str:
    """Of each study a table by measure, one by the size of the difference (of 40 prompts or more), and one by layer."""
    parts = []
    for document in documents:
        manifest, (whole, quarters) = document["manifest"], split(document["sigma_gap"])
        counted = document["prompts"] - sum(document["without_numbers"].values())
        parts.append(f"### {Path(manifest['model']['source']).name}: {_prompts(manifest['prompts'])}")
        parts.append(f"{counted:,} prompts, {manifest['dtype']}, {manifest['device']}.")
        parts.append(_table(whole, "measure"))
        if counted < _FEWEST:
            parts.append(f"No quarters of the prompts: there are fewer than {_FEWEST}.")
        else:
            parts.append("The logit difference, by quarters of the prompts:")
            parts.append(_table(quarters, "among"))
        parts.append("NMAE layer by layer:")
        names = ["layer", *(f"{measure}, {part}" for measure, part in BY_LAYER)]
        parts.append(markdown.markdown(names, by_layer(document["sigma_gap"])))
    return "\n\n".join(parts) + "\n"


def _prompts(said: dict[str, Any]) -> str:
    """The names of their sources, without folders."""
    each = [json.loads(part) for part in said["of"]] if "of" in said else [said]
    return ", ".join(dict.fromkeys(Path(part["source"]).stem.removeprefix("testbed:") for part in each))


def _table(rows: Sequence[dict[str, Any]], key: str) -> str:
    names = [key, "median size", *COMPONENTS, *(f"r, {part}" for part in COMPONENTS)]
    lines = [[*cells, *(_correlation(part["correlation"]) for part in parts)] for cells, parts in pooled(rows, key)]
    return markdown.markdown(names, lines)


def _correlation(estimate: dict[str, Any]) -> str:
    return "" if estimate["value"] is None else f"{estimate['value']:.2f}"


def run(arguments: Sequence[str]) -> int:
    """Print the tables, or put them into the page."""
    return markdown.run(tables, "frozen_sigma.md", arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
