"""Functions under a mesh with explicit axis types: inside, the compiler decides how arrays are cut, as on any mesh."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec, auto_axes

from landed_jax.nn.hook_points import HookPoint, axes_of
from landed_jax.nn.sharding import cut
from landed_jax.numerics import is_concrete
from landed_jax.results.axes import shape_of
from landed_jax.trace import Trace

P = ParamSpec("P")
R = TypeVar("R")


def on_any_mesh(*axes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for a function that may be called where a mesh with explicit axes is set (``jax.set_mesh``).

    What it returns is cut by the names of its axes, as `nn.sharding.CUT` says. With automatic axes, and without a
    mesh, this adds nothing.

    Args:
        axes: of arrays that it returns by themselves.
    """

    def decorator(function: Callable[P, R]) -> Callable[P, R]:
        call: Callable[..., Any] = function

        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            mesh = jax.sharding.get_abstract_mesh()
            if AxisType.Explicit not in mesh.axis_types:
                return function(*args, **kwargs)
            leaves, tree = jax.tree.flatten((args, kwargs))
            if all(map(is_concrete, leaves)):
                automatic = Mesh(jax.sharding.get_mesh().devices, mesh.axis_names)
                given: Any = jax.tree.unflatten(tree, [_on(automatic, leaf) for leaf in leaves])
                with jax.set_mesh(automatic):
                    found = call(*given[0], **given[1])
                return on_explicit_mesh(found)
            places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray)]

            def run(*arrays: jax.Array) -> Any:
                given = list(leaves)
                for place, array in zip(places, arrays, strict=True):
                    given[place] = array
                args, kwargs = jax.tree.unflatten(tree, given)
                return call(*args, **kwargs)

            arrays = [leaves[place] for place in places]
            whole: Any = auto_axes(run, out_sharding=PartitionSpec())
            cut_up: Any = auto_axes(run, out_sharding=_specs(jax.eval_shape(whole, *arrays), mesh, axes))
            return cut_up(*arrays)

        return wrapped

    return decorator


def on_explicit_mesh(found: R) -> R:
    """Known arrays of a mesh with automatic axes as arrays of the mesh that is set, cut the same way."""
    mesh = jax.sharding.get_mesh()
    return jax.tree.map(lambda leaf: _on(mesh, leaf), found)


def _on(mesh: Mesh, leaf: Any) -> Any:
    """The same array as one of another mesh of the same devices: nothing moves."""
    if not isinstance(leaf, jax.Array) or not isinstance(leaf.sharding, NamedSharding):
        return leaf
    return jax.device_put(leaf, NamedSharding(mesh, leaf.sharding.spec))


def _specs(found: Any, mesh: AbstractMesh, axes: Sequence[str] = ()) -> Any:
    """A tree's shapes as how each is cut: by the names that a class gives to its fields' axes, and else not at all."""
    if isinstance(found, jax.ShapeDtypeStruct):
        shape = found.shape
        names = (*("",) * (len(shape) - len(axes)), *axes[max(len(axes) - len(shape), 0) :])
        return cut(names, shape, mesh)
    if isinstance(found, Trace):
        sown = {name: _specs(value, mesh, axes_of(HookPoint(name))) for name, value in found.sown.items()}
        logits = None if found.logits is None else _specs(found.logits, mesh, ("batch", "position", "vocab"))
        others = {name: _specs(getattr(found, name), mesh) for name in ("provenance", "params", "observed")}
        return dataclasses.replace(found, sown=sown, logits=logits, **others)
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        own = {}
        for field in dataclasses.fields(found):
            if not field.metadata.get("static"):
                words = (shape_of(field.type) or "").split()
                names = [word.lstrip("#?") for word in words if not word.startswith(("*", "..."))]
                own[field.name] = _specs(getattr(found, field.name), mesh, names)
        return dataclasses.replace(found, **own)
    if isinstance(found, tuple | list | dict):
        return jax.tree.map(lambda part: _specs(part, mesh, axes), found, is_leaf=lambda part: part is not found)
    return jax.tree.map(lambda _: PartitionSpec(), found)
