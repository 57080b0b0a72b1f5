"""What `landed rerun` says: by how much a result made again differs from the stored one."""

import math
from typing import Any

from landed_jax.reruns import Rerun
from landed_jax.tables.table import Block, Column, Table


def rerun_report(found: Rerun) -> list[Block]:
    """What differs, and by how much."""
    rows = [
        [
            each.name,
            f"{each.numbers:,}",
            f"{each.changed:,}",
            f"{each.largest:.2g}",
            f"{each.allowed:.2g}",
            "yes" if each.within else "no",
        ]
        for each in found.differences
    ]
    columns = [
        Column("variable", left=True, wrap=True),
        Column("numbers", drop=1),
        Column("differ"),
        Column("by at most"),
        Column("error bar"),
        Column("within"),
    ]
    notes = [f"Made otherwise: {said}" for said in found.made]
    return [Table(f"{found.prompts:,} prompts run again", columns, rows, notes=notes)]


def rerun_document(found: Rerun) -> dict[str, Any]:
    """The JSON object of ``landed rerun --json``."""
    return {
        "same": found.same,
        "made_otherwise": list(found.made),
        "differences": [
            {
                "name": each.name,
                "numbers": each.numbers,
                "changed": each.changed,
                "largest": each.largest if math.isfinite(each.largest) else None,
                "allowed": each.allowed,
                "within": each.within,
            }
            for each in found.differences
        ],
    }
