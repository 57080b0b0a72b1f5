"""Axes: those that a user brings, cells and ticks with little room, marks, and bars at the edge."""

import io
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from landed_jax.plots import Drawing, Heat, Lines, Places, Series, Waterfall, drawing_of
from landed_jax.plots._figure import plot_drawing
from landed_jax.plots._text import line
from landed_jax.tables.quoted import Quoted
from tests.plots.artists import drawn_axes, names_of
from tests.plots.cases import made


def drawn(panel: Any) -> tuple[Figure, Axes]:
    figure = plot_drawing(Drawing([panel], ()), caption=False)
    assert isinstance(figure, Figure)
    return figure, drawn_axes(figure)[0]


def test_axes_that_were_there_before_have_no_formulas_and_one_size() -> None:
    with matplotlib.rc_context({"text.parse_math": True, "font.size": 20.0}):
        figure = Figure(layout="constrained")
        ax = figure.subplots()
        ax.set_xticks([0, 1, 2], ["$a$", "b", "c"])  # ticks that exist
        made("token_contributions").plot(ax=ax, points=6.0)
        figure.savefig(io.BytesIO(), format="png", dpi=40)  # a formula with \frac and no end would not be drawn
    texts = [text for text in ax.findobj(Text) if isinstance(text, Text)]
    assert texts and not any(text.get_parse_math() for text in texts)
    assert {label.get_fontsize() for label in (ax.xaxis.label, ax.yaxis.label)} == {6.0}
    assert {label.get_fontsize() for label in (*ax.get_xticklabels(), *ax.get_yticklabels())} == {5.0}


def test_a_token_stands_in_a_cell_whole_or_not_at_all() -> None:
    texts = [[Quoted(word) for word in (" a", " the", " Constantinople")[: 1 + row % 3] * 26][:26] for row in range(60)]
    values = np.arange(60.0 * 26).reshape(60, 26)
    panel = Heat("", Places.counted("", 60), Places.counted("", 26), values, "", signed=False, texts=texts)
    figure, ax = drawn(panel)
    FigureCanvasAgg(figure).draw()
    whole = {line(text, 80) for row in texts for text in row}
    written = [text for text in ax.texts if text.get_text()]
    assert {"' a'"} <= {text.get_text() for text in written} <= whole
    width = ax.get_window_extent().width / 26
    assert max(text.get_window_extent().width for text in written) <= 1.1 * width


def test_bars_do_not_touch_the_lower_edge() -> None:
    values = np.array([1.0, -3.0, -2.0, 1.0])
    places = Places.counted("write", 4)
    _, ax = drawn(Waterfall("", places, values, ["MLP"] * 4, -3.0, "value", "sum"))
    low, high = ax.get_ylim()
    assert low < -4 - 0.03 * (high - low)


def test_many_heads_are_named_where_layers_start() -> None:
    names = [f"{layer}.{head}" for layer in range(30) for head in range(9)]
    places = Places("head", names, range(0, 270, 9))
    _, ax = drawn(Heat("", Places.counted("site", 4), places, np.ones((4, 270)), "length", signed=False))
    shown = names_of(ax, "x")
    assert len(shown) > 10 and all(name.endswith(".0") for name in shown)
    starts = drawing_of(made("landing_matrix")).panels[0]
    assert isinstance(starts, Heat) and list(starts.columns.starts) == [0, 4]


@pytest.mark.parametrize("values", [[1e-6, 1e-3, 1.0], [1e-3, 1.0]])
def test_ticks_of_logarithms_are_written_in_one_way(values: list[float]) -> None:
    x = Places.counted("", len(values))
    figure, ax = drawn(Lines("", x, [Series("error", np.array(values))], "error", logarithmic="y"))
    FigureCanvasAgg(figure).draw()
    shown = [name for name in names_of(ax, "y") if name]
    assert len(shown) > 1 and len({"e" in name for name in shown}) == 1


def test_a_mark_is_named_away_from_the_last_marker() -> None:
    x = Places.counted("", 3)
    _, ax = drawn(Lines("", x, [Series("sum", np.array([0.0, 1.0, 2.0]))], "sum", marks=[("value", 2.0)]))
    [name] = ax.texts
    assert name.get_text() == "value" and name.get_horizontalalignment() == "left"


def test_a_study_has_words_and_units_on_its_axes() -> None:
    panels = drawing_of(made("Study"), variable=["attribution.mlp", "attribution.heads"]).panels
    assert all(isinstance(panel, Lines | Heat) and "(units of the value)" in panel.quantity for panel in panels)
