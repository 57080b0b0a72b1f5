"""The figure of `benchmarks.induction_forms`: six panels over the steps of a training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.induction_forms import Curve, Formation

# Dark to light, so that lines differ in grey too; each has a marker or a dash of its own as well.
DARK, MIDDLE, LIGHT = "#1b1b3a", "#aa3377", "#ddaa33"
_STYLES = {
    "full": (DARK, "-", "o"),
    "restricted": (MIDDLE, "--", "s"),
    "excluded": (LIGHT, "-.", "^"),
    "prefix matching": (DARK, "-", "o"),
    "previous token": (MIDDLE, "--", "s"),
}


def draw(found: "Formation", path: Path) -> None:
    """Write the figure as SVG: the same file from the same numbers.

    Raises:
        ImportError: where matplotlib is not installed.
    """
    import matplotlib  # pyright: ignore[reportMissingImports] # an extra: bench

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "landed_jax", "svg.fonttype": "none"}  # text is no outlines
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports] # an extra: bench

    figure, panels = plt.subplots(3, 2, figsize=(10, 9), layout="constrained", sharex=True)
    (losses, scores), (landed, share), (amplification, sigma) = panels
    for name, curve in found.losses.items():
        _line(losses, found.steps, curve, name)
    losses.set(ylabel="nats a word", ylim=(0, None), title="(a) loss of the induction task")
    for name, curve in found.scores.items():
        _line(scores, found.steps, curve, name)
    scores.set(ylabel="attention weight", ylim=(0, 1.03), title="(b) attention scores of the circuit's heads")
    _line(landed, found.steps, found.value, "restricted", "all writes: the logit difference")
    _line(landed, found.steps, found.landed, "full", "induction heads, together")
    landed.set(ylabel="logits", title="(c) landed contribution to right − wrong word")
    _line(share, found.steps, found.sigma_share, "full", "induction heads, together")
    share.set(ylabel="share of σ²", title="(d) σ share at the final norm")
    _sites(amplification, found, found.amplification)
    amplification.set(ylabel="median |γ|/σ", yscale="log", title="(e) amplification by read site")
    _sites(sigma, found, found.sigma)
    sigma.set(ylabel="σ", yscale="log", title="(f) σ by read site")
    losses.set_xscale("symlog", linthresh=1)
    losses.set_xlim(0, max(found.steps) * 1.1)
    for panel in panels.flat:
        panel.minorticks_off()
        panel.grid(alpha=0.25)
        panel.legend(fontsize=7, ncols=2 if panel in (amplification, sigma) else 1)
    for panel in panels[-1]:
        panel.set_xlabel("training step (linear from 0 to 1)")
    decades = [10**power for power in range(len(str(max(found.steps))))]
    losses.set_xticks([0, *decades], [f"{step:,}" for step in (0, *decades)])
    figure.suptitle("bands: 95 % bootstrap intervals over prompts (b: over sequences)", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _line(panel: Any, steps: list[int], curve: "Curve", style: str, label: str | None = None) -> None:
    colour, dash, marker = _STYLES[style]
    panel.plot(steps, curve.mean, dash, color=colour, marker=marker, markersize=4, label=label or style)
    panel.fill_between(steps, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)


def _sites(panel: Any, found: "Formation", values: np.ndarray) -> None:
    """A line a site: solid before attention, dashed before an MLP, the lighter the later; the final norm dotted."""
    depth = max(len(found.sites) // 2, 1)
    for place, site in enumerate(found.sites):
        layer, _, kind = site.partition(".")
        if not kind:
            panel.plot(found.steps, values[:, place], ":", color="black", linewidth=2.2, label=site)
            continue
        grey = str(round(0.75 * int(layer) / depth, 2))
        panel.plot(found.steps, values[:, place], "-" if kind == "attn" else "--", color=grey, label=site)
