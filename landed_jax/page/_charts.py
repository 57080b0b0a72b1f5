"""Kinds of charts that several sections have, as Vega-Lite specifications.

The rows come from the page. The page's script gives each row its name (`name`), the number that is shown (`value`) and
what is said of it (`spoken`), sets the parameters `limit` (the largest size) and `chosen` (the chosen row's number),
and takes all colours from the page's theme: `diverging` for signs and sizes, `category` for positive, negative, whole.
"""

from typing import TYPE_CHECKING

from landed_jax.page._packages import altair

if TYPE_CHECKING:
    from typing import TypeVar

    from altair import Chart, Color, LayerChart, Y

    AnyChart = TypeVar("AnyChart", Chart, LayerChart)

ROW = 15  # pixels of a row of a chart
TICKS = 8  # of an axis of numbers, about
NAME = 170  # pixels of a row's name, at most


def sized(chart: "AnyChart", across: str = "name", height: int = ROW) -> "AnyChart":
    """A chart of the page's rows, as wide as there is room; as high as `height` for each value of a column."""
    alt = altair()
    chart = chart.add_params(alt.param(name="limit", value=1), alt.param(name="chosen", value=-1))
    # A height in steps is a warning in the browser's console, where the width is that of the page.
    how = {"width": "container", "usermeta": {"across": across, "step": height}}
    return chart.properties(autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), **how)


def rows() -> "Chart":
    """An empty chart of the page's rows."""
    alt = altair()
    return alt.Chart(alt.NamedData("rows"))


def names(title: str | None = None) -> "Y":
    """The axis of rows' names, in the order of the rows."""
    alt = altair()
    return alt.Y("name:N", sort=None, title=title, axis=alt.Axis(labelLimit=NAME, ticks=False))


def by_sign() -> "Color":
    """Another colour for what lowers the value; the table and the bar's side say it too."""
    alt = altair()
    scale = alt.Scale(domain=["positive", "negative", "whole"], range="category")
    return alt.Color("sign:N", scale=scale, legend=None)


def chosen_stroke() -> dict:
    """An outline of the mark that was chosen."""
    alt = altair()
    is_chosen = "datum._row === chosen"
    return {
        "strokeWidth": alt.condition(is_chosen, alt.value(2.5), alt.value(0)),
        "stroke": alt.value("currentColor"),
    }


def bars(title: str) -> "Chart":
    """A bar for each row, from 0."""
    alt = altair()
    x = alt.X("value:Q", title=title, axis=alt.Axis(tickCount=TICKS))
    how = {"x": x, "y": names(), "color": by_sign(), "description": "spoken:N", **chosen_stroke()}
    return sized(rows().mark_bar(cursor="pointer").encode(**how))


def cells(x: str, y: str, x_title: str, y_title: str, size: int = ROW, turned: bool = False) -> "Chart":
    """A map of rows along two of their columns, coloured by sign and size."""
    alt = altair()
    shade = alt.Scale(
        domainMin=alt.expr("-limit"), domainMax=alt.expr("limit"), domainMid=0, range="diverging", interpolate="rgb"
    )
    legend = alt.Legend(title=None, orient="top", gradientLength=200, gradientThickness=8, format=".3~g")
    flat = alt.Axis(labelLimit=NAME, labelOverlap=True, ticks=False, labelAngle=-60 if turned else 0)
    upright = alt.Axis(labelLimit=NAME, labelOverlap=True, ticks=False)
    how = {
        "x": alt.X(f"{x}:O", sort=None, title=x_title, axis=flat),
        "y": alt.Y(f"{y}:O", sort=None, title=y_title, axis=upright),
        "color": alt.Color("value:Q", scale=shade, legend=legend),
        "description": "spoken:N",
        **chosen_stroke(),
    }
    return sized(rows().mark_rect(cursor="pointer").encode(**how), y, size)
