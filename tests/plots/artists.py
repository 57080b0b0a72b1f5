"""The numbers of a figure, read from what Matplotlib draws."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.container import BarContainer
from matplotlib.figure import Figure


def mesh_of(ax: Axes) -> np.ndarray:
    """The cells of a heat map; NaN where one has no number."""
    [mesh] = [part for part in ax.collections if isinstance(part, QuadMesh)]
    return np.ma.filled(np.ma.asarray(mesh.get_array(), np.float64), np.nan)


def lines_of(ax: Axes) -> dict[str, np.ndarray]:
    """The heights of each line, by its name; lines without a name stand across."""
    named = {str(line.get_label()): line for line in ax.lines}
    return {name: np.asarray(line.get_ydata(), np.float64) for name, line in named.items() if name[0] != "_"}


def bars_of(ax: Axes) -> dict[str, np.ndarray]:
    """The signed lengths of each series' bars, by its name."""
    containers = [part for part in ax.containers if isinstance(part, BarContainer)]
    upright = {part.get_label(): np.array([bar.get_height() for bar in part]) for part in containers}
    flat = {part.get_label(): np.array([bar.get_width() for bar in part]) for part in containers}
    return flat if containers[0].orientation == "horizontal" else upright


def points_of(ax: Axes) -> np.ndarray:
    [points] = [part for part in ax.collections if isinstance(part, PathCollection)]
    return np.asarray(points.get_offsets(), np.float64)


def drawn_axes(figure: Figure) -> list[Axes]:
    """The panels: not the colour bars, and not the places that are left empty."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>" and ax.axison]


def names_of(ax: Axes, axis: str) -> list[str]:
    labels = ax.get_xticklabels() if axis == "x" else ax.get_yticklabels()
    return [label.get_text() for label in labels]


def caption_of(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())
