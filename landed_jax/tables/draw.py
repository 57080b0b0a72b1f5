"""Tables and paragraphs as lines of text."""

from collections.abc import Sequence

from rich.cells import cell_len

from landed_jax.tables.fit import GAP, Grid, fit, lines_of
from landed_jax.tables.flow import Line, flow
from landed_jax.tables.heat_map import HeatMap, map_lines
from landed_jax.tables.screen import Screen
from landed_jax.tables.table import Block, Paragraph, Table


def draw(blocks: Sequence[Block], screen: Screen) -> list[Line]:
    """Every block in lines no wider than the screen; an empty line before and after a table.

    Names and numbers are whole. A token that is shortened has an ellipsis, and columns that are left out are named.
    """
    lines: list[Line] = []
    after_table = False
    for block in blocks:
        table = isinstance(block, Table | HeatMap)
        if lines and (table or after_table):
            lines.append(Line(""))
        after_table = table
        if isinstance(block, Paragraph):
            lines += [Line(text, block.style) for text in flow(block.items, screen)]
        elif isinstance(block, HeatMap):
            lines += map_lines(block, screen)
        else:
            lines += _table_lines(block, screen)
    return lines


def text_of(blocks: Sequence[Block], screen: Screen) -> str:
    """`draw` as plain text."""
    return "\n".join(line.text for line in draw(blocks, screen))


def _table_lines(table: Table, screen: Screen) -> list[Line]:
    lines = [Line(text, "bold") for text in flow(table.title, screen)]
    grids, left_out = fit(table, screen)
    for number, grid in enumerate(grids):
        if number:
            lines.append(Line(""))
        lines += _grid_lines(table, grid, screen)
    shown = {i for grid in grids for i in grid.columns}
    legends = [table.columns[i].legend for i in sorted(shown)]
    notes = [*dict.fromkeys(legend if isinstance(legend, str) else tuple(legend) for legend in legends), *table.notes]
    if left_out:
        names = ", ".join(table.columns[i].name for i in left_out)
        also = f" or {table.elsewhere}" if table.elsewhere else ""
        them = "it" if len(left_out) == 1 else "them"
        notes.append(f"Left out at this width: {names}. A wider terminal{also} shows {them}.")
    for note in notes:
        if note:
            lines += [Line(text, "dim") for text in flow(note, screen, indent="  ")]
    return lines


def _grid_lines(table: Table, grid: Grid, screen: Screen) -> list[Line]:
    columns = [table.columns[i] for i in grid.columns]

    def row(cells: Sequence[Sequence[str]]) -> list[str]:
        """Cells of one or more lines each beside each other."""
        height = max(map(len, cells))
        return [
            (" " * GAP)
            .join(
                _padded(cell[line] if line < len(cell) else "", width, column.left)
                for cell, width, column in zip(cells, grid.widths, columns, strict=True)
            )
            .rstrip(" ")
            for line in range(height)
        ]

    lines: list[Line] = []
    if table.header:
        titles = [[screen.own(part) for part in column.title.split("\n")] for column in columns]
        height = max(map(len, titles))
        lines += [Line(text, "bold") for text in row([[""] * (height - len(title)) + title for title in titles])]
        lines.append(Line(screen.own("─") * (sum(grid.widths) + GAP * (len(columns) - 1)), "dim"))
    for cells in table.rows:
        chosen = [cells[i] for i in grid.columns]
        if any(cell != "" for cell in chosen[table.keys :]) or len(chosen) == table.keys:
            fitted = zip(chosen, grid.widths, columns, strict=True)
            lines += map(Line, row([lines_of(cell, width, column.wrap, screen) for cell, width, column in fitted]))
    return lines


def _padded(text: str, width: int, left: bool) -> str:
    space = " " * max(width - cell_len(text), 0)
    return text + space if left else space + text
