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
from landed_jax.report.sigma_gap import BY_LAYER, percent, shown
from landed_jax.results.measures import COMPONENTS


def tables(documents: Sequence[dict[str, Any]]) -> str:
    """Of each study a table by measure, one by the size of the difference, and one by layer."""
    parts = []
    for document in documents:
        rows, manifest = document["sigma_gap"], document["manifest"]
        pooled = [row for row in rows if row["layer"] is None]
        whole, quarters = ([row for row in pooled if (row["among"] == "all") is same] for same in (True, False))
        counted = document["prompts"] - sum(document["without_numbers"].values())
        parts.append(f"### {Path(manifest['model']['source']).name}: {_prompts(manifest['prompts'])}")
        parts.append(f"{counted:,} prompts, {manifest['dtype']}, {manifest['device']}.")
        parts.append(_pooled(whole, "measure"))
        if quarters:
            parts.append("The logit difference, by quarters of the prompts:")
            parts.append(_pooled(quarters, "among"))
        parts.append("NMAE layer by layer:")
        parts.append(_by_layer(rows))
    return "\n\n".join(parts) + "\n"


def _prompts(said: dict[str, Any]) -> str:
    """The names of their sources, without folders."""
    each = [json.loads(part) for part in said["of"]] if "of" in said else [said]
    return ", ".join(dict.fromkeys(Path(part["source"]).stem.removeprefix("testbed:") for part in each))


def _pooled(rows: Sequence[dict[str, Any]], key: str) -> str:
    names = [key, "median size", *COMPONENTS, *(f"r, {part}" for part in COMPONENTS)]
    lines = []
    for name in dict.fromkeys(row[key] for row in rows):
        mine = {row["component"]: row for row in rows if row[key] == name}
        lines.append([name, f"{mine[COMPONENTS[0]]['size']:.3g}", *(shown(mine[part]["nmae"]) for part in COMPONENTS)])
        lines[-1] += [_correlation(mine[part]["correlation"]) for part in COMPONENTS]
    return markdown.markdown(names, lines)


def _by_layer(rows: Sequence[dict[str, Any]]) -> str:
    places = {(row["layer"], row["measure"], row["component"]): row["nmae"] for row in rows}
    keys = [(measure, part) for measure in BY_LAYER for part in COMPONENTS]
    layers = dict.fromkeys(layer for layer, *_ in places if layer is not None)
    lines = [[str(layer), *(percent(places[layer, *key]["value"]) for key in keys)] for layer in layers]
    return markdown.markdown(["layer", *(f"{measure}, {part}" for measure, part in keys)], lines)


def _correlation(estimate: dict[str, Any]) -> str:
    return "" if estimate["value"] is None else f"{estimate['value']:.2f}"


def run(arguments: Sequence[str]) -> int:
    """Print the tables, or put them into the page."""
    return markdown.run(tables, "frozen_sigma.md", arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
