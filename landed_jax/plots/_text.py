"""Items, places and numbers as the text of a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from landed_jax.plots._look import FontScreen, width_of
from landed_jax.plots._panels import Places
from landed_jax.tables.flow import Item, flow
from landed_jax.tables.quoted import Name, Passage, Quoted

if TYPE_CHECKING:  # Matplotlib is imported by what is asked for a figure alone
    from matplotlib.axes import Axes

_LONGEST = 18  # characters of a place's name
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def line(item: Item, width: int = _LONGEST) -> str:
    """An item on one line; the package's own words are never shortened."""
    screen = FontScreen(width)
    if isinstance(item, Passage):
        return Quoted(item.text).fit(width, screen)
    return item.fit(width, screen) if isinstance(item, Quoted | Name) else screen.own(item)


def lines(items: str | Sequence[Item], inches: float, points: float) -> str:
    """Items as a paragraph that is so wide at most, or 20 characters."""
    characters = max(int(inches * 72 / (0.52 * points)), 20)  # the mean width of a letter is about half its height
    while True:
        found = flow(items, FontScreen(characters))
        widest = max((width_of(one, points) for one in found), default=0.0)
        if widest <= inches or characters == 20:
            return "\n".join(found)
        characters = max(min(characters - 1, int(characters * inches / widest)), 20)


def name_places(ax: "Axes", axis: Literal["x", "y"], places: Places, inches: float, points: float) -> None:
    """Ticks with the places' names, as many as there is room for; the axis's title."""
    room = max(int(inches * 72 / (1.35 * points)), 2)
    at = list(range(0, len(places.names), thinned(len(places.names), room)))
    if places.starts and len(at) < len(places.names):
        at = list(places.starts[:: thinned(len(places.starts), room)])
    names = [line(places.names[place]) for place in at]
    if axis == "y":
        ax.set_yticks(at, names)
        ax.set_ylabel(line(places.title, 80))
        return
    longest = max(map(len, names), default=0)
    upright = longest * 0.62 * points * len(at) > 0.9 * inches * 72
    if upright:
        ax.set_xticks(at, names, rotation=90)
    else:
        ax.set_xticks(at, names)
    ax.set_xlabel(line(places.title, 80))


def thinned(count: int, room: int) -> int:
    """Every how many places there is a name, so that no more than `room` are named.

    >>> thinned(30, 40), thinned(61, 40), thinned(576, 40)
    (1, 2, 20)
    """
    return next((step for step in _STEPS if -(-count // step) <= room), max(-(-count // max(room, 1)), 1))


def logarithmic_format(low: float, high: float) -> str:
    """How the ticks of an axis are written that runs from `low` to `high`: all as decimals, or all with exponents.

    >>> logarithmic_format(0.001, 10).format(x=0.001), logarithmic_format(1e-7, 1).format(x=0.001)
    ('0.001', '1e-03')
    """
    return "{x:g}" if low >= 1e-4 and high < 1e6 else "{x:.0e}"


def decimals(largest: float) -> int:
    """With how many decimals numbers are written of which this is the largest size.

    >>> decimals(128.4), decimals(14.2), decimals(1.42), decimals(0.1), decimals(0.03)
    (0, 1, 2, 2, 3)
    """
    return 0 if largest >= 100 else 1 if largest >= 10 else 2 if largest >= 0.1 else 3


def number(value: float, digits: int) -> str:
    """A number with so many decimals; nothing where it would be 0, or there is none.

    >>> number(-0.123, 2), number(128.4, 0), number(0.001, 2), number(float("nan"), 2)
    ('−0.12', '128', '', '')
    """
    text = f"{value:.{digits}f}"
    return "" if not np.isfinite(value) or float(text) == 0 else text.replace("-", "−")
