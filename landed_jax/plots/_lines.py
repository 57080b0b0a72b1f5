"""Lines that differ by colour, dashes and markers, with the range of each as a band."""

from typing import TYPE_CHECKING

import numpy as np

from landed_jax.plots._look import COLOURS, DASHES, MARKERS
from landed_jax.plots._panels import Lines
from landed_jax.plots._text import line, logarithmic_format, name_places

if TYPE_CHECKING:  # Matplotlib is imported by what is asked for a figure alone
    from matplotlib.axes import Axes

_MARKED = 70  # places: markers of more would run together


def size_of(panel: Lines) -> tuple[float, float]:
    """The width and height that its axes want, in inches."""
    places = len(panel.x.names) if panel.at is None else 0
    return min(max(0.14 * places, 3.6), 7.5), 2.3


def draw(ax: "Axes", panel: Lines, size: tuple[float, float], points: float) -> None:
    x = np.arange(len(panel.x.names)) if panel.at is None else np.asarray(panel.at, np.float64)
    scale(ax, panel.logarithmic, x, [part for one in panel.series for part in (one.values, one.low, one.high)])
    for number, one in enumerate(panel.series):
        place = number % len(COLOURS)
        marked = MARKERS[place] if len(x) <= _MARKED else ""
        values = np.asarray(one.values, np.float64)
        ax.plot(x, values, color=COLOURS[place], linestyle=DASHES[place], marker=marked, label=line(one.name, 60))
        if one.low is not None and one.high is not None:
            if len(x) == 1:  # a band over one place has no width
                ax.vlines(x, one.low, one.high, color=COLOURS[place], linewidth=1)
            else:
                ax.fill_between(x, one.low, one.high, color=COLOURS[place], alpha=0.18, linewidth=0)
    for name, value in panel.marks:
        ax.axhline(value, color="0.4", linewidth=0.7, linestyle=(0, (2, 2)))
        ax.annotate(
            line(name, 60),
            (0, value),  # lines end at what is marked: their last marker is at the right
            xycoords=("axes fraction", "data"),
            xytext=(2, 1),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=points - 1.5,
        )
    crosses_zero(ax, "y")
    if panel.at is None:
        name_places(ax, "x", panel.x, size[0], points)
        ax.set_xlim(-0.5, max(len(x) - 0.5, 0.5))
    else:
        ax.set_xlabel(line(panel.x.title, 80))
    ax.set_ylabel(line(panel.quantity, 80))
    legend(ax, len(panel.series))


def scale(ax: "Axes", logarithmic: str, x: np.ndarray, values: list[np.ndarray | None]) -> None:
    """Logarithmic axes where that is asked for and all numbers allow it."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    there = [np.asarray(part, np.float64).ravel() for part in values if part is not None]
    for name, axis, numbers in (("x", ax.xaxis, x), ("y", ax.yaxis, np.concatenate(there) if there else np.ones(1))):
        finite = numbers[np.isfinite(numbers)]
        if name not in logarithmic or not finite.size or finite.min() <= 0:
            continue
        (ax.set_xscale if name == "x" else ax.set_yscale)("log")
        decades = np.log10(finite.max() / finite.min())
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=12))
        # Matplotlib's own would be formulas.
        axis.set_major_formatter(StrMethodFormatter(logarithmic_format(float(finite.min()), float(finite.max()))))
        axis.set_minor_formatter(NullFormatter())


def crosses_zero(ax: "Axes", axis: str) -> None:
    """A thin line at 0 where the axis has both signs."""
    low, high = ax.get_ylim() if axis == "y" else ax.get_xlim()
    if low < 0 < high:
        (ax.axhline if axis == "y" else ax.axvline)(0, color="0.3", linewidth=0.6, zorder=0.5)


def legend(ax: "Axes", series: int) -> None:
    """Which line is which, where there is more than one."""
    if series > 1:
        ax.legend(frameon=False, handlelength=2.6, loc="best")
