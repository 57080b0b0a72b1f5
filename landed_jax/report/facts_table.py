"""Facts as a table: what, and how much."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from landed_jax.printable import printable
from landed_jax.report.plain_table import plain_table


def facts_table(title: str, rows: list[tuple[str, Any]]) -> Table:
    """Two columns: what, and how much."""
    table = plain_table(escape(printable(title)))
    table.show_header = False
    table.add_column("fact", style="bold")
    table.add_column("value", justify="right")
    for name, value in rows:
        table.add_row(name, escape(printable(str(value))))
    return table
