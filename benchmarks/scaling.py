"""Cost against length and against depth, beside what the arithmetic predicts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.arithmetic import flops
from benchmarks.results import Measured, Section
from benchmarks.shapes import SIZES, shape

NAMES = ("ours-forward", "ours-last", "ours-all", "ours-effects", "hooks-all")
LENGTHS = (32, 64, 128, 256, 512, 1024)
DEPTHS = (2, 4, 6, 8, 10, 12)
LENGTH = 128  # of the prompts that depth is measured with
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#aa3377")


def measure(size: str, repeats: int, *, stacked: bool | None = None) -> Iterator[list[Measured]]:
    """The rows of one length, then of one depth, after another. `size` is that of the lengths, and of the depths less
    some layers."""
    layers = SIZES[size].n_layers
    yield from timing.measure([size], LENGTHS, NAMES, repeats, stacked=stacked)
    shallower = [f"{size}/{depth}" for depth in DEPTHS if depth < layers]
    yield from timing.measure(shallower, [LENGTH], NAMES, repeats, stacked=stacked)


def draw(section: Section, path: Path) -> None:
    """Two panels: seconds against length, and against depth; points are measured, lines the count of operations.

    The lines share one rate: that of the plain forward pass at the length where depth is measured.

    Raises:
        ImportError: where matplotlib is not installed.
    """
    import matplotlib  # pyright: ignore[reportMissingImports]

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "landed_jax"  # the same figure from the same numbers
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports]

    size = section.rows[0].size
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    by_length = [row for row in section.rows if row.size == size]
    by_depth = [row for row in section.rows if row.length == LENGTH]
    _panel(panels[0], section, by_length, lambda row: row.length)
    panels[0].set(xscale="log", yscale="log", xlabel="tokens", ylabel="seconds", title=f"{size}, by length")
    panels[0].set_xticks(sorted({row.length for row in by_length}))
    panels[0].get_xaxis().set_major_formatter("{x:.0f}")
    panels[0].minorticks_off()
    _panel(panels[1], section, by_depth, lambda row: shape(row.size).n_layers)
    panels[1].set(xlabel="layers", ylim=(0, None), title=f"{size}, {LENGTH} tokens, by depth")
    panels[1].set_xticks(sorted({shape(row.size).n_layers for row in by_depth}))
    handles, names = panels[0].get_legend_handles_labels()
    figure.suptitle("points: measured; lines: operations counted, at the plain forward pass's rate", fontsize=9)
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _panel(panel: Any, section: Section, rows: list[Measured], place: Any) -> None:
    rate = _rate(section)
    for name, colour in zip(NAMES, COLOURS, strict=True):
        mine = sorted((row for row in rows if row.contestant == name and row.median), key=place)
        at = [place(row) for row in mine]
        panel.plot(at, [row.median for row in mine], "o", color=colour, label=name, markersize=4)
        predicted = [flops(name, shape(row.size), row.length) for row in mine]
        if rate and all(predicted):
            panel.plot(at, [count / rate for count in predicted if count], color=colour, linewidth=1)


def _rate(section: Section) -> float | None:
    """Operations a second of the plain forward pass; at the length of the depths, or else at the first measured."""
    rows = [row for row in section.rows if row.contestant == "ours-forward" and row.median]
    rows.sort(key=lambda row: row.length != LENGTH)
    if not rows:
        return None
    return (flops("ours-forward", shape(rows[0].size), rows[0].length) or 0) / (rows[0].median or 1)
