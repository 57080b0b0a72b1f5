"""What `landed reproduce` says: each claim, what it measures here under each reading, and a verdict."""

import math
from typing import Any

from landed_jax.claims._reproduce import Measured, Reproduction
from landed_jax.report.numbers import significant
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Name
from landed_jax.tables.table import Block, Column, Paragraph, Table


def claims_document(found: Reproduction) -> dict[str, Any]:
    """The object of ``landed reproduce --json``."""
    return {"model": found.model, "manifest": found.manifest, "readings": [_row(one) for one in found.measured]}


def _row(one: Measured) -> dict[str, Any]:
    return {
        "claim": one.claim.name,
        "statement": one.claim.statement,
        "source": one.claim.source,
        "reading": one.reading.name,
        "published": one.reading.published,
        "unit": one.reading.unit,
        "value": _or_null(one.value),
        "interval": [_or_null(one.low), _or_null(one.high)],
        "prompts": one.prompts,
        "verdict": one.verdict,
    }


def _or_null(number: float) -> float | None:
    return number if math.isfinite(number) else None


def claims_report(found: Reproduction) -> list[Block]:
    """A table a claim."""
    named: list[Item] = [Name(found.model)] if found.model else []
    sources = list(dict.fromkeys(one.claim.source for one in found.measured))
    prompts = max((one.prompts for one in found.measured), default=0)
    blocks: list[Block] = [Paragraph([*named, f"{prompts} prompts; intervals of 95 % over prompts"])]
    for claim in dict.fromkeys(one.claim.name for one in found.measured):
        rows = [one for one in found.measured if one.claim.name == claim]
        columns = [
            Column("reading", left=True, wrap=True),
            Column("published"),
            Column("here"),
            Column("95 % interval", drop=1),
            Column("verdict", left=True, wrap=True),
        ]
        cells = [[one.reading.name, one.reading.published, *_numbers(one), one.reason or one.verdict] for one in rows]
        blocks.append(Table(rows[0].claim.statement, columns, cells, elsewhere="--json"))
    blocks.append(Paragraph([f"Claims: {'; '.join(sources)}."]))
    return blocks


def _numbers(one: Measured) -> tuple[str, str]:
    unit = f" {one.reading.unit}" if one.reading.unit in ("%", "×") else ""
    low, high = significant(one.low), significant(one.high)
    return f"{significant(one.value)}{unit}", low if low == high else f"{low}–{high}"
