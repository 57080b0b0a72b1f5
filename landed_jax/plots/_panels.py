"""What is drawn, as values: numbers with the names of their places. No line of this file knows Matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from landed_jax.tables.flow import Item

Title = str | Sequence[Item]
"""Words alone, or with tokens among them."""


@dataclass(frozen=True)
class Places:
    """The places along an axis that is no number line: layers, heads, tokens.

    Attributes:
        title: what they are, with a unit where they have one.
        names: of each.
        starts: the places that are named where there is no room for all; by default every second, fifth, ….
    """

    title: str
    names: Sequence[Item]
    starts: Sequence[int] = ()

    @classmethod
    def counted(cls, title: str, count: int) -> "Places":
        """Places that are called by their numbers.

        >>> Places.counted("layer", 3).names
        ('0', '1', '2')
        """
        return cls(title, tuple(map(str, range(count))))


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers along an axis, and a range about each where there is one."""

    name: str
    values: Shaped[np.ndarray, " place"]
    low: Shaped[np.ndarray, " place"] | None = None
    high: Shaped[np.ndarray, " place"] | None = None


@dataclass(frozen=True, eq=False)
class Heat:
    """Numbers along two axes, as colours.

    Attributes:
        values: NaN where there is no number.
        quantity: what the numbers are, with their unit.
        signed: whether the sign is what matters: 0 is then the middle of the colours, and negative cells are hatched.
        texts: of each cell, in place of its number.
        limit: the absolute value of the strongest colour, where several maps share one scale.
        logarithmic: whether the colours are of the numbers' logarithms; of unsigned numbers above 0.
    """

    title: Title
    rows: Places
    columns: Places
    values: Float[np.ndarray, "row column"]
    quantity: str
    signed: bool = True
    texts: Sequence[Sequence[Item]] | None = None
    limit: float | None = None
    logarithmic: bool = False


@dataclass(frozen=True, eq=False)
class Lines:
    """Series over places, or over numbers.

    Attributes:
        x: the places; or the title of the axis where `at` has the numbers.
        logarithmic: which of the axes are, of ``"x"`` and ``"y"``; an axis of numbers that are not all positive is not.
        marks: values at which a thin line stands across, by their names.
    """

    title: Title
    x: Places
    series: Sequence[Series]
    quantity: str
    at: Shaped[np.ndarray, " place"] | None = None
    logarithmic: str = ""
    marks: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True, eq=False)
class Bars:
    """One bar a place, or one of each series beside each other; the first place stands at the top."""

    title: Title
    places: Places
    series: Sequence[Series]
    quantity: str


@dataclass(frozen=True, eq=False)
class Waterfall:
    """Parts of a sum, each from where the one before ends, and the sum.

    Attributes:
        values: of each part.
        kinds: of each part, by which it is coloured.
        total: what the parts sum to, as the model has it.
        ticks: places with shorter names, where there is no room for a name each; and what the axis is then called.
    """

    title: Title
    places: Places
    values: Float[np.ndarray, " place"]
    kinds: Sequence[str]
    total: float
    total_name: str
    quantity: str
    ticks: Sequence[tuple[int, str]] = ()
    ticks_title: str = ""


@dataclass(frozen=True, eq=False)
class Scatter:
    """One point a component.

    Attributes:
        named: the names of some points, by their places.
    """

    title: Title
    x_title: str
    x: Float[np.ndarray, " point"]
    quantity: str
    y: Float[np.ndarray, " point"]
    named: Sequence[tuple[int, Item]] = ()
    logarithmic: str = ""


Panel = Heat | Lines | Bars | Waterfall | Scatter
