"""Horizontal bars, the first place at the top; series differ by colour and hatching."""

from typing import TYPE_CHECKING

import numpy as np

from landed_jax.plots._lines import crosses_zero
from landed_jax.plots._look import FILLS, HATCHES
from landed_jax.plots._panels import Bars
from landed_jax.plots._text import line, name_places

if TYPE_CHECKING:  # Matplotlib is imported by what is asked for a figure alone
    from matplotlib.axes import Axes

_FILLED = 0.8  # of a place's height


def size_of(panel: Bars) -> tuple[float, float]:
    """The width and height that its axes want, in inches."""
    each = 0.17 + 0.05 * (len(panel.series) - 1)
    return 3.6, min(max(each * len(panel.places.names), 0.6), 6.5)


def draw(ax: "Axes", panel: Bars, size: tuple[float, float], points: float) -> None:
    thick = _FILLED / len(panel.series)
    at = np.arange(len(panel.places.names))
    for number, one in enumerate(panel.series):
        place = number % len(FILLS)
        errors = None
        if one.low is not None and one.high is not None:
            errors = np.abs(np.stack([one.values - one.low, one.high - one.values]))
        ax.barh(
            at - _FILLED / 2 + thick * (number + 0.5),
            np.asarray(one.values, np.float64),
            height=thick,
            xerr=errors,
            error_kw={"elinewidth": 0.8, "capsize": 1.5},
            color=FILLS[place],
            hatch=HATCHES[place],
            edgecolor="black",
            linewidth=0.4,
            label=line(one.name, 60),
        )
    ax.set_ylim(max(len(at) - 0.5, 0.5), -0.5)
    crosses_zero(ax, "x")
    name_places(ax, "y", panel.places, size[1], points)
    ax.set_xlabel(line(panel.quantity, 80))
    if len(panel.series) > 1:
        # Above the bars, which leave no corner free.
        ax.legend(
            frameon=False, ncols=len(panel.series), loc="lower left", bbox_to_anchor=(-0.02, 0.99), handlelength=1.5
        )
        ax.set_title(ax.get_title(loc="left"), pad=6 + 1.7 * points)
