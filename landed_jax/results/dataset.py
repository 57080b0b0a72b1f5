"""A result with named axes: an `xarray.Dataset`.

Names come from the results themselves: the shapes that their fields are annotated with name the axes, so a new result
needs nothing here.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.stream_order import site_names
from landed_jax.numerics import is_concrete
from landed_jax.printable import printable
from landed_jax.processes import gathered
from landed_jax.provenance import Provenance
from landed_jax.results.axes import ANNOTATED_OTHERWISE, PERCENTILES, POSITION_CLASSES, Leaf, named_leaf, shape_of
from landed_jax.results.result import Result
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace
from landed_jax.vocabulary import Vocabulary

if TYPE_CHECKING:  # slow to import, and only these functions need them
    import xarray


def to_xarray(
    result: Any,
    trace: Trace | Provenance | None = None,
    *,
    axes: Sequence[str] | None = None,
    derived: bool = False,
) -> "xarray.Dataset":
    """A result of any analysis with its axes named.

    Every array becomes a variable, named by the path of its attribute: ``result.landed.heads`` is ``landed.heads``.
    An axis of size 1 that stands for all positions (or prompts) is left out, so that the variable broadcasts by name.
    Closure errors are variables too; what is neither array nor tokens (the site, the config as JSON) is in ``attrs``.
    Floats of fewer than 32 bits become float32, which holds them exactly.

    Coordinates, where they are known: ``site`` by name; ``position`` as the column of the tokens; ``class``,
    ``quantile``, ``fraction`` and whatever else the result names; all others count from 0. With the tokens come
    ``token_id``, ``mask`` (False on padding) and, with a vocabulary, ``token`` (its text, "" on padding; what does not
    print, such as NUL, as an escape) along ``[batch, position]``, and the whole prompts' likewise along ``[batch,
    source]`` as ``source_token_id``, ….

    Args:
        result: the result, not inside ``jit`` or ``vmap``; or an array, with the names of all its axes: the variable is
            then called ``value``.
        trace: for an array, or a result made by hand, the trace (or its provenance) that it was computed from: it gives
            tokens, sites and vocabulary. A result of an analysis has its own.
        axes: names for the axes that the annotations leave open (``*axes``), by default as the package's own functions
            return them; or for axes that lead all arrays: ``("site",)`` for ``sigma_shares(trace)``, or ``vmap``'s.
        derived: add the results' array properties, sums and ratios of the other variables; not with leading axes.

    Raises:
        LandedError: for what is no result of an analysis, values under ``jit`` or ``vmap``, axes that have no name,
            and another trace than that of the result.

    >>> import jax.numpy as jnp
    >>> from landed_jax import attribute, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> found = to_xarray(attribute(trace.bind(params), 3))
    >>> found["landed.heads"].dims
    ('layer', 'batch', 'position', 'head')
    >>> found["scale.median"].sel(site="1.mlp", position=2).shape
    (1,)
    >>> to_xarray(trace.sigma, trace, axes=("site", "batch", "position")).value.sel(site="final").shape
    (1, 3)
    """
    import xarray as xr

    result = gathered(result)  # the whole of it at once, in one order on all processes
    bare = isinstance(result, np.ndarray | jax.Array)
    if not bare and (isinstance(result, Trace | type) or not dataclasses.is_dataclass(result)):
        raise LandedError(f"A {type(result).__name__} is not the result of an analysis, so its axes have no names.")
    context = _context(result, trace)
    leaves: list[Leaf] = []
    attrs: dict[str, Any] = {"result": "array" if bare else type(result).__name__}
    for name, kind, value in [("value", ("array", "*axes"), result)] if bare else _walk(result, "", derived):
        if kind is not None:
            leaves.append(named_leaf(name, kind, value, axes, context.config, derived))
        else:
            attrs[name] = value
    if not leaves:
        raise LandedError(f"This {type(result).__name__} holds no array.")
    if context.config is not None:
        attrs["config"] = json.dumps(context.config.to_dict(), ensure_ascii=False)
    if context.model:
        attrs["model"] = printable(context.model)
    if context.notes:
        attrs["notes"] = json.dumps(context.notes)
    sizes = _sizes(leaves, context)
    variables = {}
    for leaf in leaves:
        kept = [axis for axis, dim in enumerate(leaf.dims) if dim and leaf.values.shape[axis] == sizes[dim]]
        shape = tuple(leaf.values.shape[axis] for axis in kept)
        variables[leaf.name] = (tuple(leaf.dims[axis] for axis in kept), leaf.values.reshape(shape))
    used = {dim: sizes[dim] for dims, _ in variables.values() for dim in dims}
    coords = _coordinates(result, used, context)
    taken = used.keys() | coords.keys()
    renamed = {f"{name}_" if name in taken else name: value for name, value in variables.items()}
    return xr.Dataset(renamed, coords, attrs)


class _Context(NamedTuple):
    """What gives axes their coordinates."""

    tokens: Tokens | None
    at: np.ndarray | None
    config: ModelConfig | None
    vocabulary: Vocabulary | None
    model: str = ""
    notes: tuple[str, ...] = ()


def _context(result: Any, trace: Trace | Provenance | None) -> _Context:
    """The result's own prompts, positions and model; for what has none, the trace's."""
    own = result.provenance if isinstance(result, Result) else None
    given = trace.provenance if isinstance(trace, Trace) else trace
    if own is not None and given is not None and not own.same(given):
        raise LandedError("This result is of another trace than the one that is given: leave the trace out.")
    known = gathered(own or given)
    if known is None:
        return _Context(None, None, None, None)
    if not is_concrete(known.at):
        raise LandedError("Under jit or vmap a result has no values yet: label what comes out.")
    return _Context(
        known.tokens if known.tokens.ids.ndim == 2 else None,  # vmap's would be one for each element
        np.asarray(known.at) if known.at.ndim == 1 else None,
        known.config,
        known.vocabulary,
        known.model,
        known.notes,
    )


def _walk(part: Any, prefix: str, derived: bool) -> Iterator[tuple[str, tuple[str, str] | None, Any]]:
    """Each value by its path: an array with its class and shape, or with None what belongs into the attributes."""
    owner = type(part).__name__
    for field in dataclasses.fields(part):
        name, value, shape = f"{prefix}{field.name}", getattr(part, field.name), shape_of(field.type)
        if value is None or isinstance(value, Provenance):
            continue
        if shape is not None:
            yield name, (owner, ANNOTATED_OTHERWISE.get((owner, field.name), shape)), value
        elif dataclasses.is_dataclass(value) and _holds_arrays(value):
            yield from _walk(value, f"{name}.", derived)
        else:
            yield name, None, _plain(name, value)
    for name, member in vars(type(part)).items():
        if not isinstance(member, property) or member.fget is None or name.startswith("_"):
            continue
        shape = shape_of(member.fget.__annotations__.get("return"))
        if shape is not None and (derived or name.endswith("closure_error")):
            yield f"{prefix}{name}", (owner, shape), getattr(part, name)


def _holds_arrays(part: Any) -> bool:
    return any(
        shape_of(field.type) is not None
        or (dataclasses.is_dataclass(value := getattr(part, field.name)) and _holds_arrays(value))
        for field in dataclasses.fields(part)
    )


def _plain(name: str, value: Any) -> str | int | float:
    """A value that an attribute of a file can be."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise LandedError(
            f"{name} is a {type(value).__name__} without named axes, so it cannot be labelled."
        ) from error


def _sizes(leaves: list[Leaf], context: _Context) -> dict[str, int]:
    """Each axis's size, which all variables that have it agree on, or have 1."""
    sizes: dict[str, int] = {}
    for leaf in leaves:
        for dim, size in zip(leaf.dims, leaf.values.shape, strict=True):
            if dim:
                before = sizes.setdefault(dim, size)
                if 1 not in (before, size) and before != size:
                    raise LandedError(f"{leaf.name} has {size} along {dim}, and others have {before}.")
                sizes[dim] = size if before == 1 else before
    known = {}
    if context.tokens is not None:
        known["batch"], known["source"] = context.tokens.ids.shape
    if context.at is not None:
        known["position"] = len(context.at)
    for dim, size in known.items():
        if sizes.get(dim) == 1:
            sizes[dim] = size  # of size 1 because it is the same for all
        if sizes.get(dim, size) != size:
            raise LandedError(f"The result has {sizes[dim]} along {dim} and the trace {size}: it is of another trace.")
    return sizes


def _coordinates(result: Any, used: dict[str, int], context: _Context) -> dict[str, Any]:
    coords: dict[str, Any] = {}
    for dim, size in used.items():
        named = getattr(result, f"{dim}s", None)  # sites, groups, writes, fractions: what the result calls them
        if isinstance(named, tuple) and len(named) == size:
            coords[dim] = np.array(named)
        elif dim == "site":
            if context.config is not None:
                names = site_names(context.config)
                if size != len(names):
                    raise LandedError(f"The result has {size} read sites and the model {len(names)}.")
                coords[dim] = np.array(names)
        elif dim == "position":
            if context.at is not None:
                coords[dim] = context.at
        elif dim == "class" and size == len(POSITION_CLASSES):
            coords[dim] = np.array(POSITION_CLASSES)
        elif dim == "quantile" and size == len(PERCENTILES):
            coords[dim] = np.array(PERCENTILES)
        else:
            coords[dim] = np.arange(size)
    if context.tokens is None or "batch" not in used:
        return coords
    ids, mask = np.asarray(context.tokens.ids), np.asarray(context.tokens.mask)
    whole = {"token_id": ids, "mask": mask}
    if context.vocabulary is not None:
        text = {token: printable(context.vocabulary.text(token)) for token in np.unique(ids[mask]).tolist()}
        whole["token"] = np.array(
            [
                [text[i] if real else "" for i, real in zip(*row, strict=True)]
                for row in zip(ids.tolist(), mask.tolist(), strict=True)
            ]
        )
    coords["source"] = np.arange(ids.shape[1])
    for name, values in whole.items():
        coords[f"source_{name}"] = (("batch", "source"), values)
        if "position" in used and context.at is not None:
            coords[name] = (("batch", "position"), values[:, context.at])
    return coords
