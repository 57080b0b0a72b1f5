"""Results of prompts that were padded on the left, as they would be without the padding."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.provenance import Provenance
from landed_jax.results.axes import shape_of
from landed_jax.tokens import Tokens

R = TypeVar("R")


def without_padding(result: R, padding: int, axes: Collection[str] = ("source",)) -> R:
    """A result without the first `padding` columns of its tokens and of these axes.

    The numbers of columns that it holds are counted from the first that stays.

    Args:
        result: a result of an analysis, of NumPy's or JAX's arrays.
        padding: how many columns of padding stand before every prompt.
        axes: ``source``, and ``position`` where all columns were recorded; otherwise no recorded one is padding.

    >>> without_padding(Tokens(np.array([[0, 0, 7]]), np.array([[False, False, True]])), 2)
    Tokens(ids i64[1,1], mask bool[1,1])
    """
    if isinstance(result, Tokens):
        return type(result)(result.ids[:, padding:], result.mask[:, padding:])
    if isinstance(result, dict):
        return type(result)({name: without_padding(part, padding, axes) for name, part in result.items()})
    if isinstance(result, tuple):
        return type(result)([without_padding(part, padding, axes) for part in result])
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        return result
    changed = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if value is None:
            continue
        words = [word.lstrip("#") for word in (shape_of(field.type) or "").split()]
        if isinstance(result, Provenance) and field.name == "at":
            changed["at"] = _columns(value[padding:] if "position" in axes else value, padding)
        elif words:
            kept = array_without_padding(value, words, padding, axes)
            changed[field.name] = _columns(kept, padding) if field.name == "attended" else kept
        elif not field.metadata.get("static"):
            changed[field.name] = without_padding(value, padding, axes)
    return dataclasses.replace(result, **changed)


def _columns(numbers: Any, padding: int) -> Any:
    # A head that brings nothing from anywhere is said to attend to the first column, and -1 means none.
    xp = jnp if isinstance(numbers, jax.Array) else np
    return xp.where(numbers < 0, numbers, xp.maximum(numbers - padding, 0))


def array_without_padding(values: Any, names: Sequence[str], padding: int, axes: Collection[str] = ("source",)) -> Any:
    """An array without the first `padding` columns of those of its axes that are in `axes`.

    An axis of size 1 stands for all columns, and stays.

    Args:
        names: of the array's axes, or of the last ones.

    >>> array_without_padding(np.array([[0, 0, 7], [0, 0, 8]]), ("head", "source"), 2).tolist()
    [[7], [8]]
    """
    for place, name in enumerate(reversed(names)):
        if name in axes and values.shape[-1 - place] > 1:
            values = values[(..., slice(padding, None), *[slice(None)] * place)]
    return values
