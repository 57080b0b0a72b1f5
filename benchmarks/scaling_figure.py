"""The figure of `benchmarks.scaling_page`: expected time against chips, strong and weak scaling."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scaling_page import ideal_seconds
from landed_jax.planning import Plan

# Dark to light, so that lines differ in grey too; each has a marker of its own as well.
_STYLES = (("#1b1b3a", "o"), ("#aa3377", "s"), ("#4477aa", "^"), ("#ddaa33", "D"))


def draw(curves: Mapping[str, Sequence[Sequence[Plan]]], path: Path) -> None:
    """Write the figure as SVG: the same file from the same numbers.

    Args:
        curves: by name, the plans of strong and of weak scaling.

    Raises:
        ImportError: where matplotlib is not installed.
    """
    import matplotlib  # pyright: ignore[reportMissingImports] # an extra: bench

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "landed_jax", "svg.fonttype": "none"}  # text is no outlines
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports] # an extra: bench

    figure, (strong, weak) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained", sharey=True)
    for number, (panel, title) in enumerate(((strong, "(a) strong scaling"), (weak, "(b) weak scaling"))):
        for (name, plans), (colour, marker) in zip(curves.items(), _STYLES, strict=True):
            _curve(panel, name, plans[number], weak=number == 1, colour=colour, marker=marker)
        panel.set(xscale="log", yscale="log", xlabel="chips", title=title)
        ticks = sorted({plan.topology.count for both in curves.values() for plan in both[number]})
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        panel.grid(alpha=0.25)
    strong.set_ylabel("seconds a batch")
    figure.suptitle(
        "planned, not measured: solid expected, dashed the smallest slice's without loss, dotted the bound", fontsize=9
    )
    handles, names = strong.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _curve(panel: Any, name: str, plans: Sequence[Plan], *, weak: bool, colour: str, marker: str) -> None:
    chips = [plan.topology.count for plan in plans]
    panel.plot(chips, [plan.layout.seconds.expected for plan in plans], "-", color=colour, marker=marker, label=name)
    panel.plot(chips, ideal_seconds(plans, weak), "--", color=colour, linewidth=0.9)
    panel.plot(chips, [plan.layout.seconds.bound for plan in plans], ":", color=colour, linewidth=1.2)
