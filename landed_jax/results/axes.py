"""The names of a result's axes, from the shapes that its fields are annotated with."""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.numerics import is_concrete

POSITION_CLASSES = ("first", "delimiter", "other")
"""The classes of positions along every axis ``class``."""
PERCENTILES = (5, 25, 50, 75, 95)
"""The quantiles along every axis ``quantile``, in per cent."""

# What a shape's "*name" stands for, by the number of axes.
_VARIADIC = {
    "Spread": (("class",), ("site", "class"), ("site", "class", "d_model")),
    "Agreement": (("batch", "position"),),
    "PerWrite": (("site",),),
}
# The axis of singular directions has the size of d_model and is annotated so, but it is not the coordinates' axis.
ANNOTATED_OTHERWISE = {
    ("WeakDirections", "singular_values"): "direction",
    ("WeakDirections", "directions"): "direction d_model",
}
_ANONYMOUS = ("batch", "position")  # what "_ _" leads with where it is not of size 1


class Leaf(NamedTuple):
    """An array of a result with the name of each axis."""

    name: str
    dims: tuple[str, ...]  # "" where the annotation says 1
    values: np.ndarray


def shape_of(annotation: Any) -> str | None:
    """The shape that a jaxtyping annotation names, also one that may be None."""
    return next((kind.dim_str for kind in (annotation, *get_args(annotation)) if hasattr(kind, "dim_str")), None)


def named_leaf(
    name: str, kind: tuple[str, str], value: Any, axes: Sequence[str] | None, config: ModelConfig | None, derived: bool
) -> Leaf:
    """An array with its axes named.

    Args:
        name: the path of its attribute.
        kind: the name of the class that holds it, and the shape that the class annotates.
        axes, derived: as for `to_xarray`.
    """
    if not is_concrete(value):
        raise LandedError("Under jit or vmap a result has no values yet: label what comes out.")
    values = np.asarray(value)
    if values.dtype.kind == "V" or (values.dtype.kind == "f" and values.dtype.itemsize < 4):
        values = values.astype(np.float32)  # NumPy's and NetCDF's own types do not hold bfloat16
    owner, shape = kind
    words = shape.split()
    rank = values.ndim - sum(not word.startswith(("*", "...")) for word in words)
    dims: list[str] = []
    for word in words:
        if word.startswith(("*", "...")):
            dims += _variadic(owner, rank, values.shape[len(dims) :], axes, config)
        else:
            dims.append(_named(word, len(dims), values.shape))
    if len(dims) != values.ndim:
        if axes is None or len(dims) + len(axes) != values.ndim:
            raise LandedError(
                f"{name} has {values.ndim} axes and not those of {shape!r}: name in axes= what leads them."
            )
        if derived:
            raise LandedError("derived=True is for results without leading axes, which properties may not count with.")
        dims = [*axes, *dims]
    return Leaf(
        name,
        tuple(f"{dim}_{dims[:i].count(dim) + 1}" if dim and dim in dims[:i] else dim for i, dim in enumerate(dims)),
        values,
    )


def _named(word: str, place: int, shape: tuple[int, ...]) -> str:
    """The name of one axis; "" for one of size 1 that the annotation gives no name."""
    word = word.lstrip("#?").split("=")[0]
    if word.isidentifier() and not word.startswith("_"):
        return word
    if place < len(shape) and shape[place] == 1:
        return ""
    return _ANONYMOUS[place] if place < len(_ANONYMOUS) else f"axis_{place}"


def _variadic(
    owner: str, rank: int, sizes: tuple[int, ...], axes: Sequence[str] | None, config: ModelConfig | None
) -> tuple[str, ...]:
    known = () if rank <= 0 else next((names for names in _VARIADIC.get(owner, ()) if len(names) == rank), None)
    if axes is not None and rank > 0:
        known = tuple(axes) if len(axes) == rank else None
    elif known and known[0] == "site" and config is not None and sizes[0] == config.n_layers:
        known = ("layer", *known[1:])
    if known is None:
        raise LandedError(f"This {owner} has {rank} axes that have no names: give as many in axes=.")
    return known
