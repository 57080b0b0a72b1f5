"""Statistics over many prompts, and over the checkpoints of a training."""

from collections.abc import Sequence

import numpy as np

from landed_jax.errors import LandedError, listed, shown
from landed_jax.nn.config import ModelConfig
from landed_jax.plots._chosen import typed, typeset
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Heat, Lines, Panel, Places, Series
from landed_jax.plots._registry import draws
from landed_jax.plots._words import worded
from landed_jax.studies._labels import coordinates_of
from landed_jax.studies._progress_measures import ProgressMeasures
from landed_jax.studies._series import Series as Checkpoints
from landed_jax.studies._statistic import Statistic
from landed_jax.studies._study import Study
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Name

_MOST = 4  # panels, where none was asked for
_BANDS = 3  # more would cover each other
_QUARTILES = (0.25, 0.5, 0.75)


@draws(Study)
def study(found: Study, *, variable: str | Sequence[str] | None = None, top: int = 15) -> Drawing:
    """Medians with quartiles over sites and layers, means of heads as maps, the largest means of neurons.

    Args:
        variable: which statistics, such as ``attribution.heads``; by default the first four that have axes.
    """
    names = _chosen(found, variable)
    panels = [panel for name in names for panel in _of_variable(name, found.statistics[name], found.config, top)]
    return Drawing(panels, _caption(found))


@draws(Checkpoints)
def series(found: Checkpoints, *, variable: str | Sequence[str] | None = None, top: int = 6) -> Drawing:
    """The means of each variable over the checkpoints: of many cells those that are largest at the end.

    Args:
        variable: as for a study.
        top: how many cells are drawn.
    """
    last = list(found.studies.values())[-1]
    panels: list[Panel] = []
    steps = found.checkpoints
    numbers = [step for step in steps if isinstance(step, int)]
    at = np.array(numbers) if len(numbers) == len(steps) else None
    x = Places("training step" if at is not None else "checkpoint", [str(step) for step in steps])
    for name in _chosen(last, variable):
        each = [one.statistics[name] for one in found.studies.values()]
        means = np.stack([one.moments.mean.ravel() for one in each])
        order = np.argsort(-np.nan_to_num(np.abs(means[-1])), kind="stable")[: max(top, 1)]
        low, high = (
            np.stack([part.ravel() for part in ends]) for ends in zip(*(one.interval() for one in each), strict=True)
        )
        cells = _cells(each[0], last.config)
        lines = [Series(cells[place], means[:, place], low[:, place], high[:, place]) for place in order]
        if len(lines) > _BANDS:
            lines = [Series(one.name, one.values) for one in lines]
        panels.append(
            Lines(f"{name}: mean" + " and 95 % interval" * (len(lines) <= _BANDS), x, lines, worded(name), at=at)
        )
    return Drawing(panels, [f"{len(steps)} checkpoints, the last:", *_caption(last)])


@draws(ProgressMeasures)
def progress_measures(found: ProgressMeasures) -> Drawing:
    """The mean losses, with their intervals over prompts."""
    names = ("full", "restricted", "excluded")
    means = np.array([getattr(found, name).mean() for name in names])
    low, high = (np.array(ends) for ends in zip(*map(found.interval, names), strict=True))
    places = Places("model", ["as it is", "chosen heads alone", "without them"])
    panel = Bars("Loss of the right answer", places, [Series("mean loss", means, low, high)], "loss (nats)")
    return Drawing([panel], [f"{found.full.dtype}; {len(found.full):,} prompts, 95 % intervals."])


def _caption(found: Study) -> list[Item]:
    model, missing = found.manifest["model"], sum(found.without_numbers.values())
    position = found.manifest["position"]
    asked = f"{found.prompts:,} prompts, {missing:,} without numbers; read at position {position}. Source:"
    source = Name(str(found.manifest["prompts"]["source"]))
    numbers = typed(found.manifest["dtype"], found.config.bfloat16_products)
    kind = f"({found.config.n_layers} layers), {numbers}."
    return ["Model", Name(model["source"] or "without a name"), kind, *typeset([asked]), source]


def _chosen(found: Study, variable: str | Sequence[str] | None) -> list[str]:
    """Names of variables, each known to be there."""
    known = list(found.statistics)
    if not known:
        raise LandedError("This study kept no statistics, so there is nothing to draw: see rows.")
    if variable is None:
        return ([name for name in known if found.statistics[name].kind.cells] or known)[:_MOST]
    names = [variable] if isinstance(variable, str) else list(variable)
    for name in names:
        if name not in known:
            raise LandedError(f"variable={shown(name)} is none of this study's: {listed(known)}.")
    return names


def _places(axis: str, size: int, config: ModelConfig) -> Places:
    labels = coordinates_of(config, [((axis,), np.empty(size))]).get(axis)
    title = "read site, in the order of the stream" if axis == "site" else axis.replace("_", " ")
    return Places.counted(title, size) if labels is None else Places(title, [str(label) for label in labels[1]])


def _cells(one: Statistic, config: ModelConfig) -> list[str]:
    """The names of all cells, in their order."""
    shape = one.moments.mean.shape
    named = [_places(axis, size, config).names for axis, size in zip(one.kind.cells, shape, strict=True)]
    return [
        ".".join(str(names[i]) for names, i in zip(named, place, strict=True)) or "mean" for place in np.ndindex(shape)
    ]


def _of_variable(name: str, one: Statistic, config: ModelConfig, top: int) -> list[Panel]:
    means, axes = one.moments.mean, one.kind.cells
    if axes and axes[-1] in ("class", "measure", "component") and len(axes) in (2, 3):
        return _by_last(name, one, config, top)
    if len(axes) == 1:
        return [_lines(name, _places(axes[0], len(means), config), one, [("", ())])]
    if len(axes) == 2 and means.size <= 4096:
        rows, columns = (_places(axis, size, config) for axis, size in zip(axes, means.shape, strict=True))
        return [Heat(f"{name}: mean", rows, columns, means, f"mean {worded(name)}")]
    flat = means.ravel()
    order = np.argsort(-np.nan_to_num(np.abs(flat)), kind="stable")[: max(top, 1)]
    cells, (low, high) = _cells(one, config), one.interval()
    drawn = Series("mean", flat[order], low.ravel()[order], high.ravel()[order])
    title = f"{name}: the largest means, 95 % intervals"
    return [
        Bars(title, Places(".".join(axes) or "value", [cells[place] for place in order]), [drawn], "mean over prompts")
    ]


def _by_last(name: str, one: Statistic, config: ModelConfig, top: int) -> list[Panel]:
    """One line, or one map, for each place on the last axis that has samples."""
    axes, means = one.kind.cells, one.moments.mean
    groups = _places(axes[-1], means.shape[-1], config).names
    there = [place for place in range(len(groups)) if one.moments.count[..., place].any()]
    first = _places(axes[0], means.shape[0], config)
    if len(axes) == 2:
        return [_lines(name, first, one, [(str(groups[place]), (place,)) for place in there])]
    columns = _places(axes[1], means.shape[1], config)
    return [
        Heat(f"{name}: mean, {groups[place]}", first, columns, means[..., place], "mean over prompts")
        for place in there
    ]


def _lines(name: str, x: Places, one: Statistic, groups: Sequence[tuple[str, tuple[int, ...]]]) -> Lines:
    """Medians and quartiles, or means and their intervals where quantiles are not kept."""
    if one.quantiles is None:
        (low, high), middle, said = one.interval(), one.moments.mean, "mean and 95 % interval"
    else:
        low, middle, high = np.moveaxis(one.quantile(_QUARTILES), -1, 0)
        said = "median and quartiles"
    lines = [
        Series(group or said, middle[(..., *place)], low[(..., *place)], high[(..., *place)]) for group, place in groups
    ]
    positive = bool(np.nanmin(low, initial=np.inf) > 0)
    return Lines(f"{name}: {said}", x, lines, worded(name), logarithmic="y" * positive)
