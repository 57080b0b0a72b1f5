"""Facts as a table: what, and how much."""

from typing import Any

from landed_jax.tables.flow import Item
from landed_jax.tables.table import Column, Table


def facts_table(title: Item, rows: list[tuple[str, Any]]) -> Table:
    """Two columns: what, and how much."""
    columns = [Column("fact", left=True, wrap=True), Column("value", left=True, wrap=True)]
    return Table([title], columns, [[name, str(value)] for name, value in rows], header=False)
