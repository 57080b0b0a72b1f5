"""What a study kept under ``sigma_gap``, as tables for a terminal and as plain values."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from landed_jax.results.measures import COMPONENTS, MEASURES
from landed_jax.studies import SigmaGap
from landed_jax.tables.table import Column, Table

_SHOWN = ("logit", "logit difference")
BY_LAYER = tuple((measure, part) for measure in _SHOWN for part in COMPONENTS)
"""The measures, and components, that are shown layer by layer."""


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
    whole, quarters = split(rows)
    title = "Landed contributions (σ frozen) against direct effects (σ live)"
    legend = "NMAE: Σ|landed − effect| / Σ|effect|, over components and prompts, with its interval over prompts"
    found = [_table(title, "of the", whole, "measure", legend)]
    if quarters:
        found.append(_table("The logit difference by its size", "prompts", quarters, "among"))
    heads = [Column(f"{part}\n{'logit' if measure == 'logit' else 'diff.'}") for measure, part in BY_LAYER]
    notes = [f"NMAE of the {' and of the '.join(_SHOWN)}; {len(MEASURES)} measures with intervals: --json"]
    return [*found, Table("The same layer by layer", [Column("layer", left=True), *heads], by_layer(rows), notes=notes)]


def _table(title: str, first: str, rows: Sequence[dict[str, Any]], key: str, legend: str = "") -> Table:
    columns = [Column(first, left=True, legend=legend), Column("median size", drop=1), *map(Column, COMPONENTS)]
    return Table(title, columns, [cells for cells, _ in pooled(rows, key)], elsewhere="--json")


def split(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of a document's rows those of all layers together: over all prompts, and by quarters of them."""
    together = [row for row in rows if row["layer"] is None]
    whole, quarters = ([row for row in together if (row["among"] == "all") is same] for same in (True, False))
    return whole, quarters


def pooled(rows: Sequence[dict[str, Any]], key: str) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """A line for each value of a field: the value, its median size, each component's NMAE; and the components' rows."""
    for name in dict.fromkeys(row[key] for row in rows):
        mine = {row["component"]: row for row in rows if row[key] == name}
        parts = [mine[part] for part in COMPONENTS]
        yield [name, f"{parts[0]['size']:.3g}", *(shown(part["nmae"]) for part in parts)], parts


def by_layer(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A line for each layer: its number, and the NMAE of each of `BY_LAYER`."""
    nmae = {(row["layer"], row["measure"], row["component"]): row["nmae"]["value"] for row in rows}
    layers = dict.fromkeys(layer for layer, *_ in nmae if layer is not None)
    return [[str(layer), *(percent(nmae[layer, *key]) for key in BY_LAYER)] for layer in layers]


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
