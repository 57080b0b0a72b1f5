"""The look of every table."""

from rich.box import SIMPLE_HEAD
from rich.table import Table


def plain_table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def table_of(title: str, *columns: str, left: int = 1) -> Table:
    """A table with these columns: the first `left` are of text, which may fold, the others of numbers."""
    table = plain_table(title)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < left else "right", no_wrap=i >= left, overflow="fold")
    return table
