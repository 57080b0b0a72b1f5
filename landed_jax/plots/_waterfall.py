"""A waterfall: each part of a sum from where the one before ends, and the sum at the right."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from landed_jax.plots._lines import crosses_zero
from landed_jax.plots._look import FILLS, HATCHES
from landed_jax.plots._panels import Places, Waterfall
from landed_jax.plots._text import line, name_places

if TYPE_CHECKING:  # Matplotlib is imported by what is asked for a figure alone
    from matplotlib.axes import Axes

_FILLED = 0.8


def size_of(panel: Waterfall) -> tuple[float, float]:
    """The width and height that its axes want, in inches."""
    return min(max(0.16 * (len(panel.values) + 1), 3.6), 7.8), 2.6


def draw(ax: "Axes", panel: Waterfall, size: tuple[float, float], points: float) -> None:
    values = np.asarray(panel.values, np.float64)
    ends = np.cumsum(values)
    starts = ends - values
    at = np.arange(len(values))
    for place, kind in enumerate(kind for kind, _ in Counter(panel.kinds).most_common()):
        mine = np.array([one == kind for one in panel.kinds])
        ax.bar(
            at[mine],
            values[mine],
            bottom=starts[mine],
            width=_FILLED,
            color=FILLS[place % len(FILLS)],
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor="black",
            linewidth=0.4,
            label=line(kind, 60),
        )
    # From the end of each bar to the start of the next.
    ax.hlines(ends, at + _FILLED / 2, at + 1 - _FILLED / 2, color="0.4", linewidth=0.5)
    ax.bar(len(values), panel.total, width=_FILLED, color="white", edgecolor="black", label=line(panel.total_name, 60))
    crosses_zero(ax, "y")
    if panel.ticks and len(values) * 1.35 * points > size[0] * 72:
        ax.set_xticks([place for place, _ in panel.ticks], [line(name) for _, name in panel.ticks])
        ax.set_xlabel(line(panel.ticks_title, 80))
    else:
        places = Places(panel.places.title, (*panel.places.names, panel.total_name))
        name_places(ax, "x", places, size[0], points)
    ax.set_xlim(-0.7, len(values) + 0.7)
    ax.set_ylabel(line(panel.quantity, 80))
    ax.legend(frameon=False, ncols=4, loc="upper left", bbox_to_anchor=(0, 1.02), columnspacing=1)
    low, high = ax.get_ylim()
    below = 0.05 * (high - low) if min(ends.min(initial=0), panel.total) < 0 else 0.0
    ax.set_ylim(low - below, high + 0.18 * (high - low))  # room for the legend, and no bar that looks cut
