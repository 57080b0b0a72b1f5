"""The leaves of a training program's tree by name: containers walked, wrappers taken off, arrays left as they are."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from landed_jax.errors import shown

# What checkpoints and adapters put around a whole tree: Linen's collection, MaxText's adapter for tunix.
_AROUND = ("params", "base")
# What a saved nnx.Variable adds to the end of its path.
_WRAPPED = "value"
_SEPARATORS = re.compile(r"[/.]")


def leaves_by_name(tree: Any, problems: list[str]) -> dict[str, Any]:
    """Every array of a tree by its path, joined with slashes; what is no array is added to `problems`.

    Args:
        tree: nested mappings and lists, an ``nnx.State``, or a flat mapping whose keys are tuples or joined by "/" or
            ".". A leaf may be wrapped in an ``nnx.Variable`` or in Linen's metadata.

    >>> leaves_by_name({"params": {"layers": [{"w": np.zeros(3)}]}}, []).keys()
    dict_keys(['layers/0/w'])
    >>> leaves_by_name({("layers", 0, "w"): np.zeros(3), "norm.scale.value": np.ones(2)}, []).keys()
    dict_keys(['layers/0/w', 'norm/scale'])
    """
    found: dict[str, Any] = {}
    for path, leaf in _walk(_inside(tree), ()):
        name = "/".join(path[:-1] if path[-1:] == (_WRAPPED,) else path)
        if not _is_array(leaf):
            what = f"{name} is" if name else "they are"
            hint = ": pass nnx.state(model, nnx.Param)" if hasattr(leaf, "__dict__") else ""
            problems.append(f"{what} {shown(type(leaf).__name__)}, not an array{hint}")
        elif name in found:
            problems.append(f"{name} is there twice")
        else:
            found[name] = leaf
    return found


def _inside(tree: Any) -> Any:
    while isinstance(tree, Mapping) and len(tree) == 1 and (name := next(iter(tree))) in _AROUND:
        tree = tree[name]
    return tree


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            parts = key if isinstance(key, tuple) else (key,)
            yield from _walk(child, (*path, *(piece for part in parts for piece in _SEPARATORS.split(str(part)))))
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _walk(child, (*path, str(index)))
    elif node is not None:  # an absent bias, in some programs
        yield path, _unwrapped(node)


def _unwrapped(leaf: Any) -> Any:
    """The array in an ``nnx.Variable`` or in Linen's ``Partitioned``, known by what they offer, not by their types."""
    while not _is_array(leaf):
        if callable(value := getattr(leaf, "get_value", None) or getattr(leaf, "unbox", None)):
            leaf = value()
        elif hasattr(leaf, "value"):  # nnx.VariableState, before Flax 0.12
            leaf = leaf.value
        else:
            break
    return leaf


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)
