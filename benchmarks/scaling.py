"""Cost by length and by depth, beside the prediction from operation counts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.arithmetic import flops
from benchmarks.results import Measured, Section
from benchmarks.shapes import SIZES, shape

NAMES = ("ours-forward", "ours-last", "ours-all", "ours-effects", "hooks-all")
LENGTHS = (32, 64, 128, 256, 512, 1024)
DEPTHS = (2, 4, 6, 8, 10, 12)
LENGTH = 128  # tokens in the prompts of the measurement by depth
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#aa3377")


def measure(size: str, repeats: int, *, stacked: bool | None = None) -> Iterator[list[Measured]]:
    """The rows of each length at `size`, then of each depth: `size` with fewer layers, and once more with all of
    them, because the machine's speed may have changed in between."""
    yield from timing.measure([size], LENGTHS, NAMES, repeats, stacked=stacked)
    cut = [f"{size}/{depth}" for depth in DEPTHS if depth <= SIZES[size].n_layers]
    yield from timing.measure(cut, [LENGTH], NAMES, repeats, stacked=stacked)


def draw(section: Section, path: Path) -> None:
    """Two panels: seconds against length, and against depth; points are measured, lines the count of operations.

    The lines of a panel share one rate: that of the plain forward pass for the longest prompt or the deepest model.

    Raises:
        ImportError: where matplotlib is not installed.
    """
    import matplotlib  # pyright: ignore[reportMissingImports]

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "landed_jax"  # the same figure from the same numbers
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports]

    by_depth = [row for row in section.rows if "/" in row.size]
    by_length = [row for row in section.rows if row not in by_depth]
    size = by_length[0].size
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    _panel(panels[0], by_length, lambda row: row.length)
    panels[0].set(xscale="log", yscale="log", xlabel="tokens", ylabel="seconds", title=f"{size}, by length")
    panels[0].set_xticks(sorted({row.length for row in by_length}))
    panels[0].get_xaxis().set_major_formatter("{x:.0f}")
    panels[0].minorticks_off()
    _panel(panels[1], by_depth, lambda row: shape(row.size).n_layers)
    panels[1].set(xlabel="layers", ylim=(0, None), title=f"{size}, {LENGTH} tokens, by depth")
    panels[1].set_xticks(sorted({shape(row.size).n_layers for row in by_depth}))
    handles, names = panels[0].get_legend_handles_labels()
    figure.suptitle("points: measured; lines: operations counted, at the plain forward pass's rate", fontsize=9)
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _panel(panel: Any, rows: list[Measured], place: Callable[[Measured], int]) -> None:
    rows = sorted((row for row in rows if row.median), key=place)
    rate = _rate(rows)
    for name, colour in zip(NAMES, COLOURS, strict=True):
        mine = [row for row in rows if row.contestant == name]
        at = [place(row) for row in mine]
        panel.plot(at, [row.median for row in mine], "o", color=colour, label=name, markersize=4)
        predicted = [flops(name, shape(row.size), row.length) for row in mine]
        if rate and all(predicted):
            panel.plot(at, [count / rate for count in predicted if count], color=colour, linewidth=1)


def _rate(rows: list[Measured]) -> float | None:
    """Operations per second of the plain forward pass, from the last of its rows."""
    for row in reversed(rows):
        if row.contestant == "ours-forward" and row.median:
            return (flops("ours-forward", shape(row.size), row.length) or 0) / row.median
    return None
