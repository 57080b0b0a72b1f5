"""`plot`: the figure of a result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from landed_jax.errors import LandedError
from landed_jax.plots import _bars, _heat, _lines, _scatter, _waterfall
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._look import font_names, look, require_matplotlib
from landed_jax.plots._panels import Bars, Heat, Lines, Panel, Waterfall
from landed_jax.plots._registry import drawing_of
from landed_jax.plots._text import lines

if TYPE_CHECKING:  # Matplotlib is imported by what is asked for a figure alone
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_POINTS = 8.0
_WIDEST = 10.0  # inches of panels beside each other
_MARGIN = (1.3, 0.95)  # inches beside and below each panel: names, titles, a colour bar


def plot(
    found: Any,
    *,
    ax: "Axes | None" = None,
    figure: "Figure | SubFigure | None" = None,
    caption: bool = True,
    points: float = _POINTS,
    **options: Any,
) -> "Figure | SubFigure":
    """The figure of a result: an ordinary figure of Matplotlib, made without its state, so that it draws nowhere else.

    It has the axes' names and units, and a caption that states model, number type, prompts, position and count.
    ``figure.savefig`` writes it as PNG, SVG or PDF. No colour stands alone: negative cells of a heat map are hatched,
    and lines and bars differ by dashes and hatching too. Text of tokens is shown as it is; characters that no
    installed font has are escaped.

    Args:
        found: any result of an analysis, a study, a comparison.
        ax: axes to draw into, for a result whose figure has one panel; the caption is then left to you
            (``drawing_of(result).caption``).
        figure: a figure or subfigure without axes to draw into, which keeps its size.
        caption: whether it is written below.
        points: the size of the text.
        options: what is drawn, such as ``prompt`` (the first by default), ``position`` (the prompt's last recorded by
            default), ``top``; each kind of figure has its own, which an unknown one lists.

    Raises:
        LandedError: without Matplotlib, for what has no figure, an option that is not there, and axes for a figure of
            several panels.

    >>> import landed_jax as landed
    >>> found = landed.amplification(landed.load().trace("The Colosseum is in the city of"))
    >>> figure = found.plot()
    >>> figure.axes[0].get_ylabel()
    '|γ|/σ'
    """
    require_matplotlib()
    return plot_drawing(drawing_of(found, **options), ax=ax, figure=figure, caption=caption, points=points)


def plot_drawing(
    drawing: Drawing,
    *,
    ax: "Axes | None" = None,
    figure: "Figure | SubFigure | None" = None,
    caption: bool = True,
    points: float = _POINTS,
) -> "Figure | SubFigure":
    """`plot` of what `drawing_of` gave."""
    from landed_jax.plots._shown import ShownFigure

    panels = drawing.panels
    with look(points):
        if ax is not None:
            if figure is not None or len(panels) != 1:
                raise LandedError(
                    f"ax= takes one panel, and this figure has {len(panels)}: give figure=, such as a subfigure."
                    if figure is None
                    else "A figure is drawn into ax= or into figure=, not into both."
                )
            box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
            _draw(ax, panels[0], (box.width, box.height), points)
            _own_texts(ax, points)
            return ax.figure
        rows, columns = _grid(panels)
        sizes = [_size_of(panel) for panel in panels]
        if figure is None:
            width, height = _extent(sizes, columns)
            text = lines(drawing.caption, width - 0.2, points - 1) if caption else ""
            height += 0.17 * (text.count("\n") + 1) if caption else 0
            figure = ShownFigure(figsize=(width, height), layout="constrained")
        else:
            box = figure.bbox.transformed(figure.dpi_scale_trans.inverted())
            text = lines(drawing.caption, box.width - 0.2, points - 1) if caption else ""
            sizes = [(box.width / columns - _MARGIN[0], box.height / rows - _MARGIN[1])] * len(panels)
        heights = [max(size[1] for size in sizes[row * columns : (row + 1) * columns]) for row in range(rows)]
        grid = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
        for place, spare in enumerate(grid.flat):
            if place < len(panels):
                _draw(spare, panels[place], sizes[place], points)
            else:
                spare.set_axis_off()
        if caption:
            figure.supxlabel(text, x=0.01, ha="left", fontsize=points - 1)
    return figure


def _own_texts(ax: "Axes", points: float) -> None:
    """Texts that axes had before they were drawn into become as those of a figure of ours: no formulas."""
    from matplotlib.text import Text

    fonts = list(font_names())
    ax.tick_params(which="both", labelsize=points - 1)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_fontsize(points)
    for text in ax.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
            text.set_usetex(False)
            text.set_fontfamily(fonts)


def _draw(ax: "Axes", panel: Panel, size: tuple[float, float], points: float) -> None:
    ax.set_title(lines(panel.title, size[0] + 0.4, points + 1))
    if isinstance(panel, Heat):
        _heat.draw(ax, panel, size, points)
    elif isinstance(panel, Lines):
        _lines.draw(ax, panel, size, points)
    elif isinstance(panel, Bars):
        _bars.draw(ax, panel, size, points)
    elif isinstance(panel, Waterfall):
        _waterfall.draw(ax, panel, size, points)
    else:
        _scatter.draw(ax, panel, size, points)
    if not isinstance(panel, Heat):
        ax.spines[["top", "right"]].set_visible(False)


def _size_of(panel: Panel) -> tuple[float, float]:
    if isinstance(panel, Heat):
        return _heat.size_of(panel)
    if isinstance(panel, Lines):
        return _lines.size_of(panel)
    if isinstance(panel, Bars):
        return _bars.size_of(panel)
    return _waterfall.size_of(panel) if isinstance(panel, Waterfall) else _scatter.size_of(panel)


def _grid(panels: Sequence[Panel]) -> tuple[int, int]:
    """How many rows and columns of panels: as many beside each other as are not too wide."""
    widest = max(_size_of(panel)[0] for panel in panels) + _MARGIN[0]
    columns = max(min(int(_WIDEST // widest), len(panels)), 1)
    rows = -(-len(panels) // columns)
    return rows, -(-len(panels) // rows)


def _extent(sizes: list[tuple[float, float]], columns: int) -> tuple[float, float]:
    rows = [sizes[start : start + columns] for start in range(0, len(sizes), columns)]
    width = columns * (max(size[0] for size in sizes) + _MARGIN[0])
    return width, sum(max(size[1] for size in row) + _MARGIN[1] for row in rows)
