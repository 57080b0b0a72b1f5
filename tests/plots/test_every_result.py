"""Every class of results has a figure: labelled, with a caption, and with the numbers that it is of."""

import importlib
import pkgutil
import re
import typing
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest

import landed_jax
from landed_jax.analysis.reduce._reductions import LayerShares
from landed_jax.analysis.registry import analyses
from landed_jax.plots import Bars, Heat, Lines, Scatter, Waterfall, drawing_of, figures
from landed_jax.plots._notebook import ROWS, table_of
from landed_jax.results.result import Result
from tests.plots.artists import bars_of, caption_of, drawn_axes, lines_of, mesh_of, points_of
from tests.plots.cases import made, others

# What exists inside of a program alone, and is no result that a user holds.
UNDRAWN = {LayerShares}
OF_TRACES = sorted(
    {
        "amplification",
        "amplification_by_coordinate",
        "amplification_statistics",
        "attribute",
        "attribute_by_source",
        "capped_effects",
        "check_coordinates",
        "closure_error",
        "confidence_signature",
        "coordinates",
        "copying",
        "frozen_sigma_agreement",
        "group_effect",
        "landing_matrix",
        "layer_effects",
        "lens_top_tokens",
        "logit_lens",
        "operations",
        "outliers",
        "position_classes",
        "residual_growth",
        "rotated_counts",
        "sigma_shares",
        "source_moves",
        "token_contributions",
        "volume",
        "weak_directions",
        "write_amplification",
    }
)
# What costs little to make; the others show the same of one more class each.
FEW = {"attribute", "amplification", "coordinates", "logit_lens", "lens_top_tokens", "attribute_by_source"}
FEW |= {"token_contributions", "HeadScores", "PatternScores", "NameMovers", "EdgeScores", "Faithfulness", "PathPatches"}
FEW |= {
    "Scores",
    "Curve",
    "Correlation",
    "Evidence",
    "LevelComparison",
    "TaskComparison",
    "ProgressMeasures",
    "Landing",
}
ALL = [*OF_TRACES, *others()]
NAMES = [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
MANY = {"HeadScores", "Study", "Series", "TaskComparison", "LevelComparison", "Curve", "Correlation", "Evidence"}
MANY |= {"Faithfulness", "PatternScores", "NameMovers", "EdgeScores", "PathPatches", "ProgressMeasures", "TopContexts"}


def subclasses(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_class_has_a_figure_and_a_case() -> None:
    for module in pkgutil.walk_packages(landed_jax.__path__, "landed_jax."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = {kind for kind in subclasses(Result) if kind.__module__.startswith("landed_jax.")}
    assert kinds - UNDRAWN <= set(figures())
    of_traces = {typing.get_type_hints(analyses()[name].function)["return"] for name in OF_TRACES}
    assert {kind.__name__ for kind in of_traces} | others().keys() == {kind.__name__ for kind in figures()}


@pytest.mark.parametrize("name", NAMES)
def test_the_figure_has_its_numbers_names_and_caption(name: str) -> None:
    found, before = made(name), dict(matplotlib.rcParams)
    figure, drawing = found.plot(), drawing_of(found)
    assert dict(matplotlib.rcParams) == before
    axes = drawn_axes(figure)
    assert len(axes) == len(drawing.panels) > 0
    for ax, panel in zip(axes, drawing.panels, strict=True):
        assert ax.get_title(loc="left")
        if isinstance(panel, Heat):
            assert ax.get_xlabel() and ax.get_ylabel()
            np.testing.assert_array_equal(mesh_of(ax), panel.values)
            assert np.isfinite(panel.values).any()
        elif isinstance(panel, Lines):
            assert ax.get_xlabel() and ax.get_ylabel() == panel.quantity
            for series in panel.series:
                np.testing.assert_array_equal(lines_of(ax)[series.name], series.values)
        elif isinstance(panel, Bars):
            assert ax.get_xlabel() == panel.quantity
            for series in panel.series:
                np.testing.assert_array_equal(bars_of(ax)[series.name], series.values)
        elif isinstance(panel, Waterfall):
            assert ax.get_xlabel() and ax.get_ylabel() == panel.quantity
            assert sum(map(len, bars_of(ax).values())) == len(panel.values) + 1
        else:
            assert isinstance(panel, Scatter) and ax.get_xlabel() == panel.x_title and ax.get_ylabel() == panel.quantity
            np.testing.assert_array_equal(points_of(ax), np.stack([panel.x, panel.y], axis=-1))
        assert len(table_of(panel).rows) <= ROWS
    caption = caption_of(figure)
    assert any(kind in caption for kind in ("float32", "float64", "int32", "bool"))
    assert any(character.isdigit() for character in caption)
    # `resolve` keeps no model's name.
    if name != "Read" and (getattr(found, "provenance", None) is not None or name == "Study"):
        assert "small_$model$ (2 layers)" in caption
    if name not in MANY and "prompt=" in caption:
        assert re.search(r"Prompt index 0 of 2 \(from 0; prompt= chooses another\), [45] tokens", caption)


# Whose figures show means, sums, orders or quartiles of what the result holds.
DERIVED = {"coordinates", "copying", "rotated_counts", "Gradients", "NameMovers", "TaskComparison", "check_coordinates"}
DERIVED |= {"HeadScores", "PatternScores", "write_amplification", "Study", "Series", "ProgressMeasures", "EdgeScores"}
DERIVED |= {"Faithfulness", "PathPatches", "Curve", "LevelComparison", "sigma_shares", "landing_matrix", "Correlation"}
DERIVED |= {"attribute", "LogProbability"}  # which have tests of their own


PLAIN = [name for name in ALL if name not in DERIVED]


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in PLAIN]
)
def test_every_number_that_is_drawn_is_one_of_the_results(name: str) -> None:
    found = made(name)
    axes = [axis for axis, _ in getattr(found, "labels", ())] or (
        ["batch", "position"] if name == "TopWrites" else None
    )
    known = found.to_xarray(derived=name != "TopWrites", axes=axes)
    numbers = np.concatenate([np.ravel(values).astype(np.float64) for values in known.data_vars.values()])
    for panel in drawing_of(found).panels:
        for values in numbers_of(panel):
            assert np.isin(values[np.isfinite(values)], numbers).all()


def numbers_of(panel: Any) -> list[np.ndarray]:
    if isinstance(panel, Heat):
        return [panel.values.ravel()]
    if isinstance(panel, Waterfall):
        return [panel.values]
    return [panel.x, panel.y] if isinstance(panel, Scatter) else [np.asarray(one.values) for one in panel.series]
