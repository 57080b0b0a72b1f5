"""One point a component, some with their names."""

from typing import TYPE_CHECKING

import numpy as np

from landed_jax.plots._lines import crosses_zero, scale
from landed_jax.plots._look import COLOURS
from landed_jax.plots._panels import Scatter
from landed_jax.plots._text import line

if TYPE_CHECKING:  # Matplotlib is imported by what is asked for a figure alone
    from matplotlib.axes import Axes


def size_of(panel: Scatter) -> tuple[float, float]:
    """The width and height that its axes want, in inches."""
    return 3.4, 2.8


def draw(ax: "Axes", panel: Scatter, size: tuple[float, float], points: float) -> None:
    x, y = (np.asarray(part, np.float64) for part in (panel.x, panel.y))
    scale(ax, panel.logarithmic, x, [y])
    many = len(x) > 3000  # which would make a large file of paths
    ax.scatter(x, y, s=6, color=COLOURS[0], alpha=0.5, linewidths=0, rasterized=many, label="points")
    for place, name in panel.named:
        ax.annotate(line(name), (x[place], y[place]), xytext=(3, 3), textcoords="offset points", fontsize=points - 1.5)
    crosses_zero(ax, "y")
    crosses_zero(ax, "x")
    ax.set_xlabel(line(panel.x_title, 80))
    ax.set_ylabel(line(panel.quantity, 80))
