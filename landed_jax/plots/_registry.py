"""Which classes have a figure, and the function that says what it shows: found by importing `kinds`."""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

import landed_jax.plots.kinds
from landed_jax.errors import LandedError, shown
from landed_jax.numerics import whole_number
from landed_jax.plots._drawing import Drawing
from landed_jax.processes import gathered

Draw = Callable[..., Drawing]
D = TypeVar("D", bound=Draw)

_FOUND: dict[type[Any], Draw] = {}


def draws(*kinds: type[Any]) -> Callable[[D], D]:
    """A decorator: the function says what the figure of these classes shows. What it takes by name are the options."""

    def register(function: D) -> D:
        _FOUND.update(dict.fromkeys(kinds, function))
        return function

    return register


@functools.cache
def figures() -> dict[type[Any], Draw]:
    """Every class of results that has a figure, with the function from a result and options to a `Drawing`.

    >>> from landed_jax.analysis.basis import Coordinates
    >>> Coordinates in figures()
    True
    """
    for module in pkgutil.iter_modules(landed_jax.plots.kinds.__path__, "landed_jax.plots.kinds."):
        importlib.import_module(module.name)
    return dict(sorted(_FOUND.items(), key=lambda found: found[0].__name__))


def drawing_of(found: Any, **options: Any) -> Drawing:
    """What the figure of a result shows, as values; it needs no Matplotlib.

    Raises:
        LandedError: for what has no figure, and an option that this kind of figure does not have.

    >>> import landed_jax as landed
    >>> from landed_jax.plots import drawing_of
    >>> found = landed.amplification(landed.load().trace("The Colosseum is in the city of"))
    >>> drawing_of(found).panels[0].x.names[-1]
    'final'
    """
    draw = figures().get(type(found))
    if draw is None:
        raise LandedError(f"A {type(found).__name__} has no figure.")
    known = [name for name, one in inspect.signature(draw).parameters.items() if one.kind is one.KEYWORD_ONLY]
    if unknown := sorted(options.keys() - set(known)):
        has = f"the options {', '.join(known)}" if known else "no options"
        raise LandedError(f"{unknown[0]}= is no option of the figure of {type(found).__name__}, which has {has}.")
    top = options.get("top", 1)
    if not whole_number(top) or top < 1:
        raise LandedError(f"top={shown(top)} is no number of places: give a whole number, 1 or more.")
    return draw(gathered(found), **options)
