"""What a study kept under ``sigma_gap``, as tables for a terminal and as plain values."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from landed_jax.results.measures import COMPONENTS, MEASURES
from landed_jax.studies import SigmaGap
from landed_jax.tables.table import Column, Table

BY_LAYER = ("logit", "logit difference")
"""The measures that are shown layer by layer."""


def document(gaps: Sequence[SigmaGap]) -> list[dict[str, Any]]:
    """A plain object a row; a number that is not defined is None."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    rows = []
    for gap in gaps:
        fields = dataclasses.asdict(gap)
        rows.append(plain(fields | {name: getattr(gap, name)._asdict() for name in ("nmae", "correlation")}))
    return rows


def tables(gaps: Sequence[SigmaGap]) -> list[Table]:
    """Pooled by measure, by the size of the difference, and layer by layer."""
    if not gaps:
        return []
    rows = document(gaps)
    pooled = [row for row in rows if row["layer"] is None]
    whole, quarters = ([row for row in pooled if (row["among"] == "all") is same] for same in (True, False))
    title = "Landed contributions (σ frozen) against direct effects (σ live)"
    legend = "NMAE: Σ|landed − effect| / Σ|effect|, over components and prompts, with its interval over prompts"
    found = [_pooled(title, "of the", whole, "measure", legend)]
    if quarters:
        found.append(_pooled("The logit difference by its size", "prompts", quarters, "among"))
    return [*found, _by_layer([row for row in rows if row["layer"] is not None])]


def _pooled(title: str, first: str, rows: Sequence[dict[str, Any]], key: str, legend: str = "") -> Table:
    names = dict.fromkeys(row[key] for row in rows)
    columns = [Column(first, left=True, legend=legend), Column("median size", drop=1), *map(Column, COMPONENTS)]
    cells = []
    for name in names:
        mine = {row["component"]: row for row in rows if row[key] == name}
        cells.append([name, f"{mine[COMPONENTS[0]]['size']:.3g}", *(shown(mine[part]["nmae"]) for part in COMPONENTS)])
    return Table(title, columns, cells, elsewhere="--json")


def _by_layer(rows: Sequence[dict[str, Any]]) -> Table:
    nmae = {(row["layer"], row["measure"], row["component"]): row["nmae"]["value"] for row in rows}
    keys = [(measure, part) for measure in BY_LAYER for part in COMPONENTS]
    heads = [Column(f"{part}\n{'logit' if measure == 'logit' else 'diff.'}") for measure, part in keys]
    cells = [
        [str(layer), *(percent(nmae[layer, *key]) for key in keys)] for layer in dict.fromkeys(row[0] for row in nmae)
    ]
    notes = [f"NMAE of the {' and of the '.join(BY_LAYER)}; {len(MEASURES)} measures with intervals: --json"]
    return Table("The same layer by layer", [Column("layer", left=True), *heads], cells, notes=notes)


def shown(estimate: dict[str, Any]) -> str:
    """An NMAE with its interval.

    >>> shown({"value": 0.412, "low": 0.4, "high": 0.43}), shown({"value": None, "low": None, "high": None})
    ('41% (40–43)', '')
    """
    if estimate["value"] is None:
        return ""
    if estimate["low"] is None:
        return percent(estimate["value"])
    return f"{percent(estimate['value'])} ({percent(estimate['low'])[:-1]}–{percent(estimate['high'])[:-1]})"


def percent(value: float | None) -> str:
    """In per cent, with two digits at least.

    >>> percent(1.234), percent(0.0712), percent(None)
    ('123%', '7.1%', '')
    """
    if value is None:
        return ""
    return f"{value:.0%}" if value >= 0.0995 else f"{value:.1%}"
