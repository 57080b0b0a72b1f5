"""What a notebook shows of a result: a small figure, and a table of the numbers that are in it."""

import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.numerics import is_concrete
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._figure import plot_drawing
from landed_jax.plots._look import has_matplotlib
from landed_jax.plots._panels import Bars, Heat, Lines, Panel, Scatter, Waterfall
from landed_jax.plots._registry import drawing_of
from landed_jax.tables.flow import Item
from landed_jax.tables.html import html_of
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.screen import Screen
from landed_jax.tables.table import Block, Cell, Column, Paragraph, Table

ROWS = 8
"""Rows of a table at most."""
PANELS = 2
"""Panels at most."""
_POINTS = 7.0
_CELLS, _DPI = 200, 120  # a map of more cells is an image, which is smaller than their paths
_counter = itertools.count()


def html_of_result(found: Any) -> str | None:
    """A figure in SVG beside its caption and tables; None for what is not known yet, or has no figure."""
    if not all(map(is_concrete, jax.tree.leaves(found))):
        return None
    try:
        drawing = drawing_of(found)
    except LandedError:  # made by hand, or by vmap: it does not know its prompts, and shows its shapes
        return None
    few = drawing.panels[:PANELS]
    drawn = f"<div>{svg_of(few)}</div>" if has_matplotlib() else ""
    more = len(drawing.panels) - len(few)
    blocks: list[Block] = [Paragraph(drawing.caption), *map(table_of, few)]
    if more:
        blocks.append(Paragraph(f"{more} more panel{'s' * (more != 1)}: plot()."))
    return f"<div>{drawn}{html_of(blocks)}</div>"


def figure_html(found: Any) -> str:
    """The small figure alone; "" without Matplotlib."""
    return f"<div>{svg_of(drawing_of(found).panels[:PANELS])}</div>" if has_matplotlib() else ""


def svg_of(panels: Sequence[Panel]) -> str:
    """The panels without a caption, as the text of one ``<svg>`` element."""
    from matplotlib.figure import Figure

    file = io.StringIO()
    figure = plot_drawing(Drawing(panels, ()), caption=False, points=_POINTS)
    assert isinstance(figure, Figure)  # a subfigure is drawn into one that is given
    for ax in figure.axes:
        for part in ax.collections:
            numbers = part.get_array()
            if numbers is not None and numbers.size > _CELLS:
                part.set_rasterized(True)
    figure.savefig(file, format="svg", metadata={"Date": None}, dpi=_DPI)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # Names within one page are each one's own.
    prefix = f"landed{next(_counter)}-"
    return re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{prefix}", text)


def table_of(panel: Panel) -> Table:
    """The numbers of a panel: all of few, and of many the largest, or some along the axis."""
    if isinstance(panel, Heat):
        return _of_heat(panel)
    if isinstance(panel, Bars):
        series = [(one.name, np.asarray(one.values, np.float64)) for one in panel.series]
        return _table(panel.title, panel.places.title, panel.places.names, series, _first(len(panel.places.names)))
    if isinstance(panel, Waterfall):
        series = [("landed contribution", np.asarray(panel.values, np.float64))]
        return _table(panel.title, "write", panel.places.names, series, _largest(panel.values))
    if isinstance(panel, Scatter):
        series = [(panel.x_title, panel.x), (panel.quantity, panel.y)]
        names = dict(panel.named)
        rows = list(names) or _largest(panel.y)
        return _table(
            panel.title, "point", {place: names.get(place, str(place)) for place in rows}, series, rows[:ROWS]
        )
    return _of_lines(panel)


def _of_lines(panel: Lines) -> Table:
    names: Any = panel.x.names if panel.at is None else [f"{value:.4g}" for value in panel.at]
    series = []
    for one in panel.series:
        series += [(one.name, one.values)]
        if one.low is not None and one.high is not None:
            series += [(f"{one.name}: low", one.low), ("high", one.high)]
    rows = np.unique(np.linspace(0, len(names) - 1, min(ROWS, len(names))).round().astype(int)).tolist()
    return _table(panel.title, panel.x.title, names, series, rows)


def _of_heat(panel: Heat) -> Table:
    """The cells with the largest numbers."""
    columns = panel.values.shape[1]
    places = [divmod(flat, columns) for flat in _largest(panel.values)]
    cells = [(panel.rows.names[row], panel.columns.names[column]) for row, column in places]
    titles = [Column(panel.rows.title, left=True), Column(panel.columns.title, left=True), Column(panel.quantity)]
    rows: list[list[Cell]] = []
    for (row, column), names in zip(places, cells, strict=True):
        said = [] if panel.texts is None else [_cell(panel.texts[row][column])]
        rows.append([*map(_cell, names), f"{panel.values[row, column]:.4g}", *said])
    if panel.texts is not None:
        titles.append(Column("token", left=True))
    note = _note(len(rows), panel.values.size)
    return Table(panel.title, titles, rows, keys=2, notes=note)


def _table(title: Any, what: str, names: Any, series: Any, rows: list[int]) -> Table:
    columns = [Column(what, left=True), *(Column(name) for name, _ in series)]
    cells = [[_cell(names[row]), *(f"{values[row]:.4g}" for _, values in series)] for row in rows]
    return Table(title, columns, cells, notes=_note(len(rows), len(series[0][1])))


def _note(shown: int, of: int) -> list[str]:
    return [] if shown == of else [f"{shown} of {of:,}; all: to_xarray() or to_pandas()."]


def _cell(item: Item) -> Cell:
    if isinstance(item, Passage):
        return Quoted(item.text)
    return item.fit(80, Screen()) if isinstance(item, Name) else item


def _first(count: int) -> list[int]:
    return list(range(min(count, ROWS)))


def _largest(values: np.ndarray) -> list[int]:
    flat = np.abs(np.asarray(values, np.float64)).ravel()
    order = np.argsort(-np.nan_to_num(flat, nan=-1.0, posinf=-1.0), kind="stable")
    return [int(place) for place in order[:ROWS] if np.isfinite(flat[place])]
