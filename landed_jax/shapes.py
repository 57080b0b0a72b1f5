"""Reprs that show shapes and types, and never read an array: nothing is copied off a device to print an object."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

_SHORT = {"float": "f", "int": "i", "uint": "u", "bfloat": "bf", "complex": "c"}


def shape_text(array: Any) -> str:
    """``f32[4,1,8]``; the type as JAX prints it.

    >>> shape_text(np.zeros((2, 3), np.float32)), shape_text(np.zeros(2, bool))
    ('f32[2,3]', 'bool[2]')
    """
    name = str(array.dtype)
    letters = name.rstrip("0123456789")
    return f"{_SHORT.get(letters, letters)}{name[len(letters) :]}[{','.join(map(str, array.shape))}]"


def array_texts(value: Any, prefix: str = "") -> Iterator[str]:
    """``name f32[…]`` of each array in a tree of dataclasses and mappings, by its path.

    >>> list(array_texts({"a": np.zeros(2, np.float32), "b": None}))
    ['a f32[2]']
    """
    if isinstance(value, np.ndarray | jax.Array):
        yield f"{prefix} {shape_text(value)}".strip()
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from array_texts(part, f"{prefix}.{name}".lstrip("."))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in (field for field in dataclasses.fields(value) if field.repr):
            yield from array_texts(getattr(value, field.name), f"{prefix}.{field.name}".lstrip("."))


def tree_html(value: Any) -> str | None:
    """A tree to open and close, in HTML, by treescope; None where it is not installed."""
    try:
        import treescope
    except ModuleNotFoundError:
        return None
    return treescope.render_to_html(value)


def shapes_of(tree: Any) -> Any:
    """The tree with the shape and type of each array in its place, which reads none."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


class ShapeRepr:
    """A dataclass whose repr shows the shapes of its arrays. Declare it with ``dataclass(repr=False)``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(array_texts(self))})"
