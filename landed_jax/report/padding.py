"""Results of a prompt that was padded on the left, as they would be without the padding."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from landed_jax.results.axes import shape_of
from landed_jax.tokens import Tokens

R = TypeVar("R")


def without_padding(result: R, padding: int) -> R:
    """A result without the first `padding` columns of its tokens and of its axes named ``source``.

    The numbers of columns that it holds are counted from the first that stays.

    Args:
        result: a result of an analysis, as NumPy arrays, whose recorded positions are not padding.
        padding: how many columns of padding stand before every prompt.

    >>> without_padding(Tokens(np.array([[0, 0, 7]]), np.array([[False, False, True]])), 2)
    Tokens(ids i64[1,1], mask bool[1,1])
    """
    if isinstance(result, Tokens):
        return type(result)(result.ids[:, padding:], result.mask[:, padding:])
    if isinstance(result, dict):
        return type(result)({name: without_padding(part, padding) for name, part in result.items()})
    if isinstance(result, tuple):
        return type(result)([without_padding(part, padding) for part in result])
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        return result
    changed = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if value is None:
            continue
        if field.name in ("at", "attended"):
            # A head that brings nothing from anywhere is said to attend to the first column, and -1 means none.
            changed[field.name] = np.where(value < 0, value, np.maximum(np.asarray(value) - padding, 0))
        elif "source" in (axes := (shape_of(field.type) or "").split()):
            changed[field.name] = array_without_padding(value, axes, padding)
        elif not field.metadata.get("static"):
            changed[field.name] = without_padding(value, padding)
    return dataclasses.replace(result, **changed)


def array_without_padding(values: Any, axes: Sequence[str], padding: int) -> np.ndarray:
    """An array without the first `padding` columns of its axis ``source``, where it has one.

    Args:
        axes: the names of the array's axes, or of the last ones.

    >>> array_without_padding(np.array([[0, 0, 7], [0, 0, 8]]), ("head", "source"), 2).tolist()
    [[7], [8]]
    """
    values = np.asarray(values)
    if "source" not in axes:
        return values
    behind = [slice(None)] * (len(axes) - 1 - list(axes).index("source"))
    return values[(..., slice(padding, None), *behind)]
