"""A value by coordinates of the landed stream."""

import numpy as np

from landed_jax.analysis.basis._coordinate_check import CoordinateCheck, Reading
from landed_jax.analysis.basis._coordinates import Coordinates
from landed_jax.analysis.basis._outliers import Outliers
from landed_jax.analysis.basis._rotations import RotatedCounts
from landed_jax.analysis.reads._read import Read
from landed_jax.plots._chosen import Chosen, about
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Lines, Panel, Places, Series
from landed_jax.plots._registry import draws

_VALUE = "units of the value"


@draws(Coordinates)
def coordinates(
    found: Coordinates, *, prompt: int | None = None, position: int | None = None, top: int = 15
) -> Drawing:
    """The sum of the largest coordinates as their number grows, and the largest themselves.

    Args:
        top: how many coordinates are shown one by one.
    """
    chosen = Chosen.of(found, prompt, position)
    parts, value = chosen.cell(found.contributions, 1), float(chosen.cell(found.value))
    order = np.argsort(-np.abs(parts), kind="stable")
    sums = np.cumsum(parts[order])
    curve = Lines(
        "The largest coordinates together",
        Places("number of coordinates, the largest |contribution| first", ()),
        [Series("their sum", sums)],
        f"sum of contributions ({_VALUE})",
        at=np.arange(1, len(sums) + 1),
        logarithmic="x",
        marks=[("value", value)],
    )
    count = f"{len(parts):,} coordinates; value {value:.4g}."
    return Drawing([curve, _largest("The largest coordinates", parts, top)], chosen.caption(found, count))


@draws(Outliers)
def outliers(found: Outliers, *, prompt: int | None = None, position: int | None = None, top: int = 15) -> Drawing:
    """The stream's largest coordinates, as multiples of its typical one, and the value with and without outliers."""
    chosen = Chosen.of(found, prompt, position)
    size, outlying = chosen.cell(found.size, 1), chosen.cell(found.outlying, 1) > 0
    order = np.argsort(-size, kind="stable")[:top]
    names = [f"{coordinate}{' (outlier)' if outlying[coordinate] else ''}" for coordinate in order.tolist()]
    sizes = Bars("The largest coordinates", Places("coordinate", names), [Series("size", size[order])], "size")
    numbers = {
        "everything": found.everything.value,
        "the outliers": found.contribution,
        "without them": found.without.value,
    }
    values = np.array([float(chosen.cell(value)) for value in numbers.values()])
    panel = Bars("The value", Places("part of the stream", list(numbers)), [Series("value", values)], _VALUE)
    return Drawing(
        [sizes, panel], chosen.caption(found, f"{int(outlying.sum())} outliers of {len(size):,} coordinates.")
    )


@draws(RotatedCounts)
def rotated_counts(found: RotatedCounts, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """How many coordinates of random bases reach each fraction of the value: the mean, and a deviation about it."""
    chosen = Chosen.of(found, prompt, position)
    pairs = (
        ("first reached", found.first_mean, found.first_spread),
        ("settled", found.settled_mean, found.settled_spread),
    )
    series = []
    for name, mean, deviation in pairs:
        middle, spread = chosen.cell(mean), chosen.cell(deviation)
        series.append(Series(name, middle, middle - spread, middle + spread))
    rotations = np.shape(found.first)[0]
    panel = Lines(
        "Coordinates of randomly rotated bases",
        Places("fraction of the value", ()),
        series,
        "number of coordinates",
        at=np.array(found.fractions),
    )
    return Drawing([panel], chosen.caption(found, f"{rotations} rotations: mean ± standard deviation."))


@draws(CoordinateCheck)
def coordinate_check(found: CoordinateCheck, *, prompt: int | None = None, position: int | None = None) -> Drawing:
    """The read of the whole stream, of the chosen coordinates alone, and of the others."""
    chosen = Chosen.of(found, prompt, position)
    parts = {"whole": found.whole, "chosen alone": found.kept, "without them": found.ablated}
    values = np.array([float(chosen.cell(part.value)) for part in parts.values()])
    panel = Bars("The chosen coordinates", Places("what is read", list(parts)), [Series("value", values)], _VALUE)
    return Drawing([panel], chosen.caption(found, f"{int(chosen.cell(found.count))} coordinates chosen."))


@draws(Reading)
def reading(found: Reading, *, prompt: int | None = None) -> Drawing:
    """The value at every position."""
    chosen = Chosen.of(found, prompt)
    values = chosen.row(found.value)[chosen.real]
    panel = Lines("What is read", Places("position and token", chosen.recorded), [Series("value", values)], _VALUE)
    return Drawing([panel], chosen.caption(found, at_position=False))


@draws(Read)
def read(found: Read, *, prompt: int | None = None, position: int | None = None, top: int = 15) -> Drawing:
    """The largest coordinates of the vector that is read along."""
    chosen = Chosen.of(found, prompt, position)
    parts = chosen.cell(found.vector, 1)
    panels: list[Panel] = [
        _largest(["The vector of", *about(found.known, found.target, found.against, chosen, found.site)], parts, top)
    ]
    value = f"Value {float(chosen.cell(found.value)):.4g}, at {found.site}."
    return Drawing(panels, chosen.caption(found, f"{len(parts):,} coordinates.", value))


def _largest(title: str | list, parts: np.ndarray, top: int) -> Bars:
    order = np.argsort(-np.abs(parts), kind="stable")[: max(top, 1)]
    places = Places("coordinate", list(map(str, order.tolist())))
    return Bars(title, places, [Series("contribution", parts[order])], _VALUE)
