"""A study as tables for a terminal, and as plain values."""

import math
from typing import Any

import numpy as np

from landed_jax.report import sigma_gap
from landed_jax.report.study_stability import stability_blocks
from landed_jax.results.axes import POSITION_CLASSES
from landed_jax.studies import Statistic, Study, sigma_gaps
from landed_jax.studies._batches import REASONS_IN_WORDS
from landed_jax.studies._labels import coordinates_of, statistic_arrays
from landed_jax.tables.table import Block, Column, Table

_POSITIONS = "Samples are positions. Those of one prompt go together, so the interval is too narrow by an unknown part."
_MOST = 12  # cells of one variable in a table: the largest means


def study_report(study: Study) -> list[Block]:
    """What became of the prompts, a table of every variable's largest means, and the gap of σ where it was kept."""
    blocks: list[Block] = [_prompts_table(study)]
    for name, part in study.statistics.items():
        if part.moments.count.any() and not name.startswith("stability."):
            blocks.append(_statistic_table(study, name, part))
    blocks += stability_blocks(study)
    return [*blocks, *sigma_gap.tables(sigma_gaps(study))] if _has_gaps(study) else blocks


def _has_gaps(study: Study) -> bool:
    return "sigma_gap" in study.manifest["keep"]


def _prompts_table(study: Study) -> Table:
    counts = {"": study.prompts - sum(study.without_numbers.values()), **study.without_numbers}
    rows = [[f"{count:,}", _in_words(reason)] for reason, count in counts.items()]
    return Table(f"{study.prompts:,} prompts", [Column("prompts"), Column("which", left=True, wrap=True)], rows)


def _in_words(reason: str) -> str:
    if not reason:
        return "have their numbers"
    kind, _, variable = reason.partition(": ")
    return REASONS_IN_WORDS[kind] + (f": {variable}" if variable else "")


def _statistic_table(study: Study, name: str, part: Statistic) -> Table:
    moments, interval = part.moments, part.interval()
    median = part.quantile(0.5)
    cells = [place for place in np.ndindex(moments.mean.shape) if moments.count[place]]
    shown = sorted(cells, key=lambda place: -abs(moments.mean[place]))[:_MOST]
    labels = labels_along(study, part)
    rows = [
        [
            " ".join(names[place] for names, place in zip(labels, cell, strict=True)) or "all",
            f"{moments.count[cell]:,}",
            number(moments.mean[cell]),
            f"{number(interval.low[cell])} to {number(interval.high[cell])}",
            number(moments.deviation[cell]),
            number(float(median[cell])),
        ]
        for cell in (shown if len(cells) > _MOST else cells)
    ]
    more = f", the {len(rows)} largest means of {len(cells):,}" if len(cells) > len(rows) else ""
    columns = [
        Column(" ".join(part.kind.cells) or "cell", left=True),
        Column("samples", drop=2),
        Column("mean"),
        Column("95 %", drop=1),
        Column("deviation"),
        Column("median", drop=3),
    ]
    notes = [_POSITIONS] if part.kind.by_position else []
    return Table(f"{name}{more}", columns, rows, notes=notes, elsewhere="--json and the store")


def labels_along(study: Study, part: Statistic) -> list[list[str]]:
    """The names of a statistic's cells along each of its axes."""
    dims, shape = part.kind.cells, part.moments.mean.shape
    known = coordinates_of(study.config, [(dims, part.moments.mean)])
    named = {dim: [str(label) for label in values.tolist()] for dim, (_, values) in known.items()}
    return [named.get(dim, [str(i) for i in range(size)]) for dim, size in zip(dims, shape, strict=True)]


def number(value: Any) -> str:
    """Four digits, and nothing for what is no number."""
    return "" if math.isnan(value) else f"{value:.4g}"


def study_document(study: Study) -> dict[str, Any]:
    """The JSON object of ``landed study --json``: all statistics; NaN is null."""
    arrays = statistic_arrays(study.statistics)
    coordinates = coordinates_of(study.config, list(arrays.values()))
    gaps = {"sigma_gap": sigma_gap.document(sigma_gaps(study))} if _has_gaps(study) else {}
    return {
        "prompts": study.prompts,
        "without_numbers": study.without_numbers,
        "manifest": study.manifest,
        "classes": list(POSITION_CLASSES),
        "coordinates": {name: _plain(values) for name, (_, values) in coordinates.items()},
        "statistics": {name: {"dims": list(dims), "values": _plain(values)} for name, (dims, values) in arrays.items()},
        **gaps,
    }


def _plain(values: np.ndarray) -> Any:
    if values.dtype.kind != "f":
        return values.tolist()
    numbers: Any = np.array(values.tolist(), object)  # Python's own, which JSON can hold
    numbers = np.asarray(numbers)
    numbers[~np.isfinite(values)] = None
    return numbers.tolist()
