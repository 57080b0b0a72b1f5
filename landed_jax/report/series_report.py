"""A series of studies as tables for a terminal, and as plain values."""

from typing import Any

import numpy as np

from landed_jax.report.study_report import labels_along, number, study_document
from landed_jax.studies import Series
from landed_jax.tables.table import Block, Column, Table

_MOST = 4  # cells of one variable in a table: those whose means change most


def series_report(series: Series) -> list[Block]:
    """What became of the prompts, and a table of every variable's means that change most."""
    first = next(iter(series.studies.values()))
    blocks: list[Block] = [_prompts_table(series)]
    return blocks + [_means_table(series, name) for name in first.statistics]


def _prompts_table(series: Series) -> Table:
    rows = [
        [str(label), name, f"{study.prompts:,}", f"{sum(study.without_numbers.values()):,}"]
        for label, (name, study) in zip(series.checkpoints, series.studies.items(), strict=True)
    ]
    columns = [
        Column("checkpoint"),
        Column("name", left=True, drop=1),
        Column("prompts"),
        Column("without\nnumbers"),
    ]
    return Table(f"{len(rows)} checkpoints", columns, rows)


def _means_table(series: Series, name: str) -> Table:
    studies = list(series.studies.values())
    part = studies[0].statistics[name]
    means = np.stack([study.statistics[name].moments.mean for study in studies])
    counts = np.stack([study.statistics[name].moments.count for study in studies])
    change = np.where(counts > 0, means, -np.inf).max(axis=0) - np.where(counts > 0, means, np.inf).min(axis=0)
    cells = [cell for cell in np.ndindex(change.shape) if counts[(slice(None), *cell)].any()]
    shown = sorted(sorted(cells, key=lambda cell: -change[cell])[:_MOST])
    labels = labels_along(studies[0], part)
    titles = [" ".join(names[i] for names, i in zip(labels, cell, strict=True)) or "mean" for cell in shown]
    rows = [
        [str(label), *(number(means[(place, *cell)]) for cell in shown)]
        for place, label in enumerate(series.checkpoints)
    ]
    axes = " ".join(part.kind.cells)
    which = f", means by {axes}" if axes else ", means"
    most = f": the {len(shown)} of {len(cells):,} that change most" if len(cells) > len(shown) else ""
    return Table(
        f"{name}{which}{most}", [Column("checkpoint"), *map(Column, titles)], rows, elsewhere="--json and the stores"
    )


def series_document(series: Series) -> dict[str, Any]:
    """The JSON object of ``landed study --json`` with several checkpoints: each study's as it is alone."""
    return {
        "checkpoints": series.checkpoints,
        "names": list(series.studies),
        "studies": [study_document(study) for study in series.studies.values()],
    }
