"""Edges, paths and circuits; and methods compared."""

import numpy as np

from landed_jax.circuits._attribution import EdgeScores
from landed_jax.circuits._circuit import Faithfulness
from landed_jax.circuits._path import PathPatches
from landed_jax.comparison._compare import TaskComparison
from landed_jax.comparison._correlation import Correlation
from landed_jax.comparison._curves import Curve
from landed_jax.comparison._evidence import Evidence
from landed_jax.comparison._rows import LevelComparison
from landed_jax.plots._chosen import number_type, of_prompts, plain
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Lines, Panel, Places, Series
from landed_jax.plots._registry import draws

_SHARE = "share of all components that is kept"


@draws(EdgeScores)
def edge_scores(found: EdgeScores, *, top: int = 15) -> Drawing:
    """The edges, and the nodes, with the largest mean scores."""
    edges, nodes = plain(found.mean), plain(found.node_scores).mean(axis=0)
    unit = "score (units of the value)"
    panels: list[Panel] = []
    for title, names, values in (("edge", found.edges, edges), ("node", found.senders, nodes)):
        order = np.argsort(-np.abs(values), kind="stable")[: max(top, 1)]
        places = Places(title, [names[place] for place in order])
        panels.append(Bars(f"The largest {title}s", places, [Series(unit, values[order])], unit))
    return Drawing(panels, of_prompts(found, len(plain(found.value)), "prompt", f"{len(edges):,} edges."))


@draws(Faithfulness)
def faithfulness(found: Faithfulness) -> Drawing:
    """How faithful each circuit is, over the prompts' means."""
    values = plain(found.faithfulness)
    places = Places.counted("circuit", len(values))
    marks = [("the whole model", 1.0), ("no edge", 0.0)]
    panel = Lines("Circuits", places, [Series("faithfulness", values)], "faithfulness", marks=marks)
    count = f"{len(values):,} circuit{'s' * (len(values) != 1)}."
    return Drawing([panel], of_prompts(found, len(plain(found.whole)), "prompt", count))


@draws(PathPatches)
def path_patches(found: PathPatches, *, top: int = 15) -> Drawing:
    """The paths whose patch costs the value most, in the mean over prompts."""
    effects = plain(found.effect).mean(axis=-1)
    order = np.argsort(-np.abs(effects), kind="stable")[: max(top, 1)]
    names = [found.paths[place] if found.paths else str(place) for place in order]
    unit = "clean − patched, mean over prompts"
    panel = Bars("Paths patched", Places("path", names), [Series(unit, effects[order])], unit)
    return Drawing([panel], of_prompts(found, len(plain(found.clean)), "prompt", f"{len(effects):,} paths."))


@draws(Curve)
def curve(found: Curve) -> Drawing:
    """Faithfulness as the circuit grows."""
    panel = _curves("Circuits of growing size", [("faithfulness", found)])
    return Drawing(
        [panel], of_prompts(found, len(plain(found.whole)), "prompt", f"CPR {found.cpr:.3f}, CMD {found.cmd:.3f}.")
    )


@draws(LevelComparison)
def level_comparison(found: LevelComparison) -> Drawing:
    """Every method's circuits: those of the largest scores, and the model without these."""
    return Drawing(_level(found), [*_prompts(found), f"{found.components:,} components."])


@draws(TaskComparison)
def task_comparison(found: TaskComparison) -> Drawing:
    """Every level's comparison."""
    panels = [panel for level in found.levels for panel in _level(level)]
    kept = len(found.kept.prompts)
    named = f"Task {found.task}; {kept:,} prompts that the model answers."
    first = [] if not found.levels else _prompts(found.levels[0])
    return Drawing(panels, [named, *first])


def _prompts(found: LevelComparison) -> list:
    count = len(plain(found.rows[0].by_score.whole)) if found.rows else 0
    kind = number_type(found.rows[0].by_score) if found.rows else "no numbers"
    return [f"Circuits of {count:,} prompts, {kind}; {len(found.rows)} methods."]


def _level(found: LevelComparison) -> list[Panel]:
    named = f"{found.level}, {found.ablation} ablation"
    return [
        _curves(f"{named}: the largest scores kept", [(row.method, row.by_score) for row in found.rows]),
        _curves(f"{named}: the largest scores ablated", [(row.method, row.without) for row in found.rows]),
    ]


def _curves(title: str, curves: list[tuple[str, Curve]]) -> Lines:
    fraction = plain(curves[0][1].fraction) if curves else np.zeros(0)
    series = [Series(name, plain(one.faithfulness)) for name, one in curves]
    marks = [("the whole model", 1.0)]
    return Lines(title, Places(_SHARE, ()), series, "faithfulness", at=fraction, logarithmic="x", marks=marks)


@draws(Correlation)
def correlation(found: Correlation) -> Drawing:
    """Every prompt's correlations, and the overlap of the largest."""
    parts = {name: plain(getattr(found, name)) for name in ("pearson", "spearman", "overlap")}
    series = [Series(name.capitalize(), values) for name, values in parts.items()]
    places = Places.counted("prompt", len(parts["pearson"]))
    panel = Lines("Agreement with the measured effects", places, series, "correlation, or share")
    pooled = f"Of all together Pearson {found.pooled_pearson:.3f}, Spearman {found.pooled_spearman:.3f}."
    return Drawing([panel], of_prompts(found, len(parts["pearson"]), "prompt", pooled))


@draws(Evidence)
def evidence(found: Evidence) -> Drawing:
    """Which share of every prompt's attribution is on the evidence."""
    absolute, signed = plain(found.absolute), plain(found.signed)
    series = [Series("of Σ|attribution|", absolute), Series("of the signed sum", signed)]
    panel = Lines("The evidence's share", Places.counted("prompt", len(absolute)), series, "share of the attribution")
    first = f"First in {100 * plain(found.first).mean():.0f}% of them."
    return Drawing([panel], of_prompts(found, len(absolute), "prompt", first))
