"""A heat map whose signs survive greyscale: negative cells are hatched, and numbers stand in cells with room."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from landed_jax.plots._look import MISSING, NEGATIVE_HATCH, SIGNED, UNSIGNED, width_of
from landed_jax.plots._panels import Heat
from landed_jax.plots._text import decimals, line, lines, logarithmic_format, name_places, number
from landed_jax.tables.heat_map import QUIET

if TYPE_CHECKING:  # Matplotlib is imported by what is asked for a figure alone
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

_NUMBER = 0.27  # inches that a number needs
_WORD = 0.062  # inches of a letter
_COLUMN = (0.5, 1.2)  # inches of a column of words
_WIDEST = 12.0


def size_of(panel: Heat) -> tuple[float, float]:
    """The width and height that its axes want, in inches."""
    rows, columns = panel.values.shape
    if panel.texts is None:
        return min(max(0.34 * columns, 2.6), 7.5), min(max(0.2 * rows, 1.4), 6.5)
    longest = max((_WORD * (len(line(text)) + 1) for row in panel.texts for text in row), default=0.0)
    cell = min(max(longest, _COLUMN[0]), _COLUMN[1])
    return min(max(cell * columns, 2.6), _WIDEST), min(max(0.2 * rows, 1.4), 9.0)


def draw(ax: "Axes", panel: Heat, size: tuple[float, float], points: float) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    values = np.asarray(panel.values, np.float64)
    norm, beyond = _norm(panel)
    high = float(norm.vmax or 1.0)
    shown = np.ma.masked_invalid(values)
    colours = colormaps[SIGNED if panel.signed else UNSIGNED].with_extremes(bad=MISSING)
    rows, columns = values.shape
    edges = (np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5)
    # Of very many cells an image: a file with a path for each would be large, and slow to open.
    mesh = ax.pcolormesh(*edges, shown, cmap=colours, norm=norm, rasterized=values.size > 10_000)
    mesh.set_label("values")
    if panel.signed:
        _hatch(ax, values < -QUIET * high)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_facecolor(MISSING)
    _write(ax, panel, size, points, lambda value: _luminance(colours(norm(value))))
    name_places(ax, "y", panel.rows, size[1], points)
    name_places(ax, "x", panel.columns, size[0], points)
    ax.tick_params(length=2)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=25, fraction=0.08, extend="max" if beyond else "neither")
    if panel.logarithmic:
        form = logarithmic_format(float(norm.vmin or 1.0), high)
        bar.ax.yaxis.set_major_formatter(StrMethodFormatter(form))  # Matplotlib's own would be a formula
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    hatched = "\n(hatched: negative)" if panel.signed and (values < -QUIET * high).any() else ""
    bar.set_label(lines(panel.quantity, size[1], points) + hatched)
    bar.ax.tick_params(length=2)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)  # 256 paths otherwise


def _norm(panel: Heat) -> "tuple[Normalize, bool]":
    """What becomes which colour, and whether some numbers are beyond the strongest one."""
    from matplotlib.colors import LogNorm, Normalize

    finite = np.asarray(panel.values, np.float64)
    finite = finite[np.isfinite(finite)]
    if panel.signed:
        high = panel.limit if panel.limit is not None else float(np.max(np.abs(finite), initial=0.0))
        return Normalize(-(high or 1.0), high or 1.0), False
    if panel.logarithmic and (finite > 0).any():
        positive = finite[finite > 0]
        # What is as good as 0 would take most of the colours.
        return LogNorm(max(float(positive.min()), 1e-4 * float(positive.max())), float(positive.max())), False
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    # Of words the colours come second: a few large numbers do not make all others alike.
    most = float(np.quantile(finite, 0.98)) if panel.texts is not None and finite.size else high
    if low == most:
        low, most = min(low, 0.0), max(high, low + 1.0)
    return Normalize(low, most), high > most


def _hatch(ax: "Axes", cells: np.ndarray) -> None:
    """Hatch the cells that are true, as one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
    squares = [corners + np.array([column, row]) for row, column in np.argwhere(cells)]
    if squares:
        path = Path(np.concatenate(squares), np.tile(codes, len(squares)))
        ax.add_patch(PathPatch(path, fill=False, linewidth=0, edgecolor="0.25", hatch=NEGATIVE_HATCH, label="negative"))


def _write(ax: "Axes", panel: Heat, size: tuple[float, float], points: float, light: Callable[[float], float]) -> None:
    """Numbers in the cells where all have room; words where each has: a cut token would be read as another."""
    rows, columns = panel.values.shape
    width, height = size[0] / columns, size[1] / rows
    if height < 0.13 or width < (_NUMBER if panel.texts is None else 3 * _WORD):
        return
    largest = float(np.max(np.abs(panel.values), initial=0.0, where=np.isfinite(panel.values)))
    for (row, column), value in np.ndenumerate(panel.values):
        if panel.texts is None:
            text = number(value, decimals(largest)) if abs(value) >= QUIET * largest else ""
        else:
            text = line(panel.texts[row][column], 80)
            text = text if width_of(text, points - 2) <= 0.97 * width else ""
        if text:
            # Words on a hatched cell need a ground to be read on.
            ground = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
            hatched = panel.signed and np.isfinite(value) and value < 0
            dark = np.isfinite(value) and not hatched and light(value) < 0.45
            ax.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=points - 2,
                color="white" if dark else "black",
                bbox=ground if hatched else None,
            )


def _luminance(colour: tuple[float, ...]) -> float:
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue
