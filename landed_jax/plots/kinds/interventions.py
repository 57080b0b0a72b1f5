"""What changes where something is taken away or put in: sweeps, effects, patching, gradients."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from landed_jax.errors import LandedError, shown
from landed_jax.interventions._effects_table import Effects
from landed_jax.interventions._gradients import Gradients
from landed_jax.interventions._sweep import Sweep
from landed_jax.methods._scores import Scores
from landed_jax.nn.hook_points import axes_of
from landed_jax.patching._maps import name_of
from landed_jax.patching._patching import Patching
from landed_jax.plots._chosen import Chosen, of_prompts, plain, text_of
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Heat, Lines, Panel, Places, Series
from landed_jax.plots._registry import draws
from landed_jax.plots.kinds.attribution import check_choice, head_map
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Passage

_BARS = 15
Labels = Sequence[tuple[str, tuple[Any, ...]]]


@draws(Sweep)
def sweep(found: Sweep, *, prompt: int | None = None, position: int | None = None, top: int | None = None) -> Drawing:
    """What each intervention takes from the measure."""
    chosen = Chosen.of(found, prompt, position)
    panels = _maps(
        "Lost under each intervention", chosen.cell(found.effect), found.labels, chosen, "clean − value", top
    )
    return Drawing(panels, chosen.caption(found, _runs(found.labels), f"Clean {float(chosen.cell(found.clean)):.4g}."))


@draws(Effects)
def effects(
    found: Effects, *, prompt: int | None = None, position: int | None = None, top: int | None = None
) -> Drawing:
    """Each component's total effect, and the direct one beside it."""
    chosen = Chosen.of(found, prompt, position)
    total, direct = chosen.cell(found.total), chosen.cell(found.direct)
    unit = "effect (units of the value)"
    value = f"Zero ablation at all positions; {_runs(found.labels)} Value {float(chosen.cell(found.value)):.4g}."
    if total.ndim == 1:
        order = np.argsort(-np.abs(total), kind="stable")[: top or _BARS]
        title, names = found.labels[0]
        series = [Series("total effect", total[order]), Series("direct effect", direct[order])]
        places = Places(title, [_label(names[place]) for place in order])
        return Drawing(
            [Bars("Components removed at all positions", places, series, unit)], chosen.caption(found, value)
        )
    limit = float(np.nanmax(np.abs(np.stack([total, direct])), initial=0.0))
    panels = _maps("Total effect, removed at all positions", total, found.labels, chosen, unit, top, limit)
    panels += _maps("Direct effect", direct, found.labels, chosen, unit, top, limit)
    return Drawing(panels, chosen.caption(found, value))


@draws(Patching)
def patching(
    found: Patching,
    *,
    prompt: int | None = None,
    position: int | None = None,
    show: str | None = None,
    top: int | None = None,
) -> Drawing:
    """Layers by tokens for each hook point, or layers by heads; all of one scale.

    Args:
        show: ``"fraction"`` of the gap between the prompts, or the ``"effect"``; by default the fraction where it is
            defined.
    """
    chosen = Chosen.of(found, prompt, position)
    if show is None:
        show = "fraction" if bool(chosen.cell(found.defined)) else "effect"
    check_choice("show", show, ("fraction", "effect"))
    values = chosen.cell(getattr(found, show))
    gap = "recovered" if found.direction == "denoise" else "lost"
    quantity = f"fraction {gap}" if show == "fraction" else "change of the measure"
    panels = _maps("Replaced", values, found.labels, chosen, quantity, top, _largest(values))
    clean, corrupted = float(chosen.cell(found.clean)), float(chosen.cell(found.corrupted))
    said = [
        f"{found.method.capitalize()}; {_runs(found.labels)}",
        f"Measure: clean {clean:.4g}, corrupted {corrupted:.4g}.",
    ]
    other = dataclasses.replace(found.known, tokens=found.corrupted_tokens)
    put = "Corrupted prompt, into which clean values are put:"
    put = put if found.direction == "denoise" else "Corrupted prompt, whose values are put into the clean one:"
    ending = [put, Passage(text_of(other, chosen.prompt), lines=1)]
    return Drawing(panels, [*chosen.caption(found, *said), *ending])


def _largest(values: np.ndarray) -> float:
    return float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))


def _runs(labels: Labels) -> str:
    return f"{int(np.prod([len(names) for _, names in labels])):,} runs."


def _maps(
    title: str,
    values: np.ndarray,
    labels: Labels,
    chosen: Chosen,
    quantity: str,
    top: int | None,
    limit: float | None = None,
) -> list[Panel]:
    """One axis as bars, the largest first; two as a map; of three the first is one map a place."""
    if top is not None and values.ndim > 1:
        raise LandedError("top= goes with a list of components: this figure is a map, and has all of them.")
    if values.ndim == 1:
        order = np.argsort(-np.abs(values), kind="stable")[: top or _BARS]
        places = Places(labels[0][0].replace("_", " "), [_label(labels[0][1][place]) for place in order])
        return [Bars(title, places, [Series(quantity, values[order])], quantity)]
    if values.ndim > 2:
        found: list[Panel] = []
        name, places = labels[0]
        for place, part in zip(places, values, strict=True):
            said = name_of(place) if name == "hook_point" else f"{name} {_label(place)}"
            found += _maps(f"{title}: {said}", part, labels[1:], chosen, quantity, None, limit)
        return found
    (row_title, rows), (column_title, columns) = labels
    column_names: Sequence[Item] = [_label(column) for column in columns]
    if column_title == "column":
        real = [place for place, column in enumerate(columns) if column in chosen.columns]
        values, column_title = values[:, real], "position and token"
        column_names = chosen.tokens([columns[place] for place in real])
    row_names = Places(row_title.replace("_", " "), [_label(row) for row in rows])
    return [Heat(title, row_names, Places(column_title.replace("_", " "), column_names), values, quantity, limit=limit)]


def _label(label: Any) -> str:
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(getattr(label, "value", label))


@draws(Gradients)
def gradients(found: Gradients, *, prompt: int | None = None) -> Drawing:
    """Value times slope at every layer and position, summed over all other axes: its first-order contribution."""
    chosen = Chosen.of(found, prompt)
    panels: list[Panel] = []
    for site, slopes in found.slopes.items():
        axes = axes_of(site)
        if "batch" not in axes or "position" not in axes:
            continue
        product = np.take(plain(found.values[site]) * plain(slopes), chosen.prompt, axis=axes.index("batch"))
        left = [axis for axis in axes if axis != "batch"]
        others = tuple(place for place, axis in enumerate(left) if axis not in ("layer", "position"))
        values = np.atleast_2d(product.sum(axis=others))[:, chosen.columns]
        names = Places.counted("layer", len(values)) if "layer" in axes else Places("site", ["stream"])
        tokens = Places("position and token", chosen.tokens(chosen.columns))
        panels.append(Heat(name_of(site.value), names, tokens, values, "value × slope (units of the measure)"))
    if not panels:
        raise LandedError("None of these hook points has an axis of positions: to_xarray() has their numbers.")
    return Drawing(panels, chosen.caption(found, f"{len(panels)} hook points.", at_position=False))


@draws(Scores)
def scores(found: Scores, *, prompt: int | None = None, top: int = 15) -> Drawing:
    """A method's scores: every head, the largest neurons, every input token."""
    batch = len(plain(found.value))
    first = 0 if prompt is None else prompt
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first < batch:
        raise LandedError(f"There is no prompt {shown(prompt)}: the batch holds {batch}.")
    unit = "score (units of the value)"
    panels: list[Panel] = []
    if found.heads is not None:
        panels.append(head_map("Heads", plain(found.heads)[:, first], unit))
    if found.neurons is not None:
        values = plain(found.neurons)[:, first]
        flat = np.argsort(-np.abs(values), axis=None, kind="stable")[: max(top, 1)]
        names = [".neuron.".join(map(str, divmod(int(place), values.shape[1]))) for place in flat]
        panels.append(Bars("The largest neurons", Places("neuron", names), [Series(unit, values.ravel()[flat])], unit))
    if found.tokens is not None:
        panels.append(_tokens(found, plain(found.tokens)[first], first, unit))
    value = f"Prompt index {first} of {batch} (from 0); value {float(plain(found.value)[first]):.4g}."
    return Drawing(panels, of_prompts(found, batch, "prompt", value))


def _tokens(found: Scores, values: np.ndarray, prompt: int, unit: str) -> Panel:
    if found.provenance is None:
        return Lines("Input tokens", Places.counted("position", len(values)), [Series(unit, values)], unit)
    mask = np.flatnonzero(np.asarray(found.known.tokens.mask)[prompt])
    chosen = Chosen(found.known, prompt, True, 0, int(mask[-1]))
    return Lines("Input tokens", Places("position and token", chosen.tokens(mask)), [Series(unit, values[mask])], unit)
