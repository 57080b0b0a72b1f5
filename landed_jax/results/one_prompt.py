"""One prompt's part of a result of several, and one recorded position's."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from landed_jax.results.axes import shape_of
from landed_jax.tokens import Tokens

R = TypeVar("R")

_BOTH = {"*shape": "batch position"}  # what it stands for in a trace's own results


def of_prompt(result: R, prompt: int) -> R:
    """The result of a batch as that of one of its prompts: a batch of one.

    Args:
        result: a result of an analysis, of NumPy's or JAX's arrays; or a dictionary or a tuple of such.

    >>> import numpy as np
    >>> from landed_jax.tokens import Tokens
    >>> of_prompt(Tokens(np.array([[5, 7], [5, 8]]), np.ones((2, 2), bool)), 1).ids.tolist()
    [[5, 8]]
    """
    return _at(result, "batch", prompt)


def at_position(result: R, place: int) -> R:
    """The result of several recorded positions as that of one of them; its prompts stay whole.

    Args:
        result: as for `of_prompt`.
        place: which of the recorded positions.

    >>> import numpy as np
    >>> from landed_jax.analysis.basis._coordinates import Coordinates
    >>> at_position(Coordinates(np.zeros((1, 3, 2)), np.array([[5, 6, 7]])), 1).value.tolist()
    [[6]]
    """
    return _at(result, "position", place)


def _at(result: Any, axis: str, place: int) -> Any:
    if isinstance(result, dict):
        return type(result)({name: _at(part, axis, place) for name, part in result.items()})
    if isinstance(result, tuple):
        return type(result)([_at(part, axis, place) for part in result])
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        return result
    if isinstance(result, Tokens) and axis == "position":
        return result
    changed = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if value is None or field.metadata.get("static"):
            continue
        shape = shape_of(field.type)
        if shape is None:
            changed[field.name] = _at(value, axis, place)
        else:
            names = [word.lstrip("#") for word in _BOTH.get(shape, shape).split()]
            changed[field.name] = _array_at(value, names, axis, place)
    return dataclasses.replace(result, **changed)


def array_of_prompt(values: Any, names: Sequence[str], prompt: int) -> Any:
    """An array of a batch for one of its prompts; an axis of size 1 stands for all, and stays.

    Args:
        names: of the array's axes, or of the last ones.

    >>> import numpy as np
    >>> array_of_prompt(np.arange(6).reshape(3, 2), ("batch", "position"), 1).tolist()
    [[2, 3]]
    """
    return _array_at(values, names, "batch", prompt)


def _array_at(values: Any, names: Sequence[str], axis: str, place: int) -> Any:
    for behind, name in enumerate(reversed(names)):
        if name == axis and values.shape[-1 - behind] > 1:
            return values[(..., slice(place, place + 1), *[slice(None)] * behind)]
    return values
