"""Results with named axes: as an `xarray.Dataset`, as a table of `pandas`, and in one file.

Names come from the results themselves: the shapes that their fields are annotated with name the axes, so a new result
needs nothing here.
"""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import jax
import numpy as np

from landed_jax.analysis.position_classes import POSITION_CLASSES
from landed_jax.analysis.spread import PERCENTILES
from landed_jax.config import ModelConfig
from landed_jax.errors import LandedError
from landed_jax.numerics import is_concrete
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace, read_sites
from landed_jax.vocabulary import Vocabulary

if TYPE_CHECKING:  # slow to import, and only these functions need them
    import pandas
    import xarray

SUFFIXES = (".nc", ".nc4")
"""How a result's file may end."""

_FORMAT = "landed_jax_format"
_FORMAT_VERSION = 1
# What a shape's "*name" stands for, by the number of axes.
_VARIADIC = {
    "Spread": (("class",), ("site", "class"), ("site", "class", "d_model")),
    "Agreement": (("batch", "position"),),
}
# The axis of singular directions has the size of d_model and is annotated so, but it is not the coordinates' axis.
_ANNOTATED_OTHERWISE = {
    ("WeakDirections", "singular_values"): "direction",
    ("WeakDirections", "directions"): "direction d_model",
}
_ANONYMOUS = ("batch", "position")  # what "_ _" leads with where it is not of size 1


def to_xarray(
    result: Any, trace: Trace | None = None, *, axes: Sequence[str] | None = None, derived: bool = False
) -> "xarray.Dataset":
    """A result of any analysis with its axes named.

    Every array becomes a variable, named by the path of its attribute: ``result.landed.heads`` is ``landed.heads``.
    An axis of size 1 that stands for all positions (or prompts) is left out, so that the variable broadcasts by name.
    Closure errors are variables too; what is neither array nor tokens (the site, the config as JSON) is in ``attrs``.
    Floats of fewer than 32 bits become float32, which holds them exactly.

    Coordinates, where they are known: ``site`` by name; ``position`` as the column of the tokens; ``class``,
    ``quantile``, ``fraction`` and whatever else the result names; all others count from 0. With the tokens come
    ``token_id``, ``mask`` (False on padding) and, with a vocabulary, ``token`` (its text, "" on padding, ␀ for the
    character NUL) along ``[batch, position]``, and the whole prompts' likewise along ``[batch, source]`` as
    ``source_token_id``, ….

    Args:
        result: the result, not inside ``jit`` or ``vmap``; or an array, with the names of all its axes: the variable is
            then called ``value``.
        trace: the trace that it was made from: it knows tokens, sites and vocabulary where the result does not. (That
            it is the same trace can be seen from the sizes only.)
        axes: names for the axes that the annotations leave open (``*axes``), by default as the package's own functions
            return them; or for axes that lead all arrays: ``("site",)`` for ``sigma_shares(trace)``, or ``vmap``'s.
        derived: add the results' array properties, sums and ratios of the other variables; not with leading axes.

    Raises:
        LandedError: for what is no result of an analysis, values under ``jit`` or ``vmap``, axes that have no name,
            and a trace that the sizes show to be another.

    >>> import jax.numpy as jnp
    >>> from landed_jax import attribute, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> found = to_xarray(attribute(trace.bind(params), target=3))
    >>> found["landed.heads"].dims
    ('layer', 'batch', 'position', 'head')
    >>> found["scale.median"].sel(site="1.mlp", position=2).shape
    (1,)
    >>> to_xarray(trace.sigma, trace, axes=("site", "batch", "position")).value.sel(site="final").shape
    (1, 3)
    """
    import xarray as xr

    bare = isinstance(result, np.ndarray | jax.Array)
    if not bare and (isinstance(result, Trace | type) or not dataclasses.is_dataclass(result)):
        raise LandedError(f"A {type(result).__name__} is not the result of an analysis, so its axes have no names.")
    context = _context(result, trace)
    leaves: list[_Leaf] = []
    attrs: dict[str, Any] = {"result": "array" if bare else type(result).__name__}
    for name, kind, value in [("value", ("array", "*axes"), result)] if bare else _walk(result, "", derived):
        if kind is not None:
            leaves.append(_leaf(name, kind, value, axes, context, derived))
        else:
            attrs[name] = value
    if not leaves:
        raise LandedError(f"This {type(result).__name__} holds no array.")
    if context.config is not None:
        attrs["config"] = json.dumps(context.config.to_dict(), ensure_ascii=False)
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


def to_table(
    data: Any,
    trace: Trace | None = None,
    *,
    axes: Sequence[str] | None = None,
    variables: Sequence[str] | None = None,
    derived: bool = False,
) -> "pandas.DataFrame":
    """A result in long form: one row an element, all variables below each other.

    Columns: ``variable``, one for each axis and each coordinate, and ``value`` (in the narrowest type that holds all
    chosen variables'). An axis or coordinate that a variable does not have is missing there (NA).

    Args:
        data: a `Dataset` of `to_xarray`, or a result.
        trace, axes, derived: as for `to_xarray`, for a result.
        variables: which to put in, by default all: neurons alone have ``layer · batch · position · d_ff`` rows.

    Raises:
        LandedError: for a variable that is not there, and what `to_xarray` refuses.

    >>> import jax.numpy as jnp
    >>> from landed_jax import Coordinates
    >>> to_table(Coordinates(jnp.array([[[3.0, -2.0]]]), jnp.array([[1.0]])), variables=["contributions"])
            variable  batch  position  d_model  value
    0  contributions      0         0        0    3.0
    1  contributions      0         0        1   -2.0
    """
    import pandas as pd
    import xarray as xr

    dataset = data if isinstance(data, xr.Dataset) else to_xarray(data, trace, axes=axes, derived=derived)
    names = list(map(str, dataset.data_vars)) if variables is None else list(variables)
    if unknown := [name for name in names if name not in dataset.data_vars]:
        raise LandedError(f"There is no variable {unknown[0]!r}: there are {', '.join(map(str, dataset.data_vars))}.")
    if not names:
        return pd.DataFrame({"variable": pd.Categorical([]), "value": np.zeros(0)})
    dtype = np.result_type(*(dataset[name].dtype for name in names))
    frames = [_frame(dataset[name], dtype) for name in names]
    columns = list(dict.fromkeys(column for frame in frames for column in frame.columns if column != "value"))
    nullable = {"i": "Int64", "u": "UInt64", "b": "boolean"}
    for column in columns:
        holders = [frame for frame in frames if column in frame.columns]
        if len(holders) < len(frames):
            for frame in holders:
                # A whole number stays one beside what is missing.
                if wide := nullable.get(getattr(frame[column].dtype, "kind", "")):
                    frame[column] = frame[column].astype(wide)
    table = pd.concat(frames, ignore_index=True).reindex(columns=[*columns, "value"])
    codes = np.repeat(np.arange(len(names)), [len(frame) for frame in frames])
    table.insert(0, "variable", pd.Categorical.from_codes(codes, categories=pd.Index(names)))
    return table


def save_result(dataset: "xarray.Dataset", path: str | os.PathLike[str]) -> None:
    """Write a `Dataset` to one NetCDF-4 file, replacing it at once: whole or not at all.

    `load_result` gives back an identical one. What such a file would not give back as it was is refused.

    Args:
        path: a file that ends in one of `SUFFIXES`.

    Raises:
        LandedError: for a path that cannot be written, and types that the file cannot hold.

    >>> import jax.numpy as jnp
    >>> from landed_jax import Coordinates
    >>> found = to_xarray(Coordinates(jnp.array([[[3.0, -2.0]]]), jnp.array([[1.0]])))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_result(found, Path(folder) / "coordinates.nc")
    ...     load_result(Path(folder) / "coordinates.nc").identical(found)
    True
    """
    import xarray as xr

    target = check_result_path(path)
    if not isinstance(dataset, xr.Dataset):
        raise LandedError(
            f"A file holds a Dataset, not a {type(dataset).__name__}: save_result(to_xarray(result), path)."
        )
    _check_types(dataset)
    marked = dataset.drop_encoding().assign_attrs({_FORMAT: _FORMAT_VERSION})
    # xarray would else declare NaN to mean "missing".
    encoding = {name: {"_FillValue": None} for name, value in marked.variables.items() if value.dtype.kind == "f"}
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".landed-", suffix=".nc")
        os.close(handle)
        marked.to_netcdf(temporary, format="NETCDF4", engine="h5netcdf", encoding=encoding)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's own mode would hide the file from others
        os.replace(temporary, target)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        # What HDF5, h5netcdf and xarray raise for what a file cannot hold; NotImplementedError is
        # xarray's, for a MultiIndex.
        if isinstance(error, OSError | ValueError | TypeError | NotImplementedError | ArithmeticError):
            raise LandedError(f"{path} cannot be written: {error}") from error
        raise


def load_result(path: str | os.PathLike[str]) -> "xarray.Dataset":
    """A `Dataset` that `save_result` wrote, read into memory.

    Raises:
        LandedError: if the file is not there, or is not one that `save_result` wrote.

    >>> load_result("results.csv")
    Traceback (most recent call last):
    landed_jax.errors.LandedError: results.csv: a result's file ends in .nc or .nc4.
    """
    import xarray as xr

    source = _checked(path)
    if not source.is_file():
        raise LandedError(f"{path}: there is no such file.")
    try:
        with xr.open_dataset(source, engine="h5netcdf", mask_and_scale=False, decode_times=False) as opened:
            dataset = opened.load().drop_encoding()
    except Exception as error:  # a damaged file fails in whatever part of three libraries meets it first
        raise LandedError(f"{path} is not a result's file, or it is damaged.") from error
    version = dataset.attrs.pop(_FORMAT, None)
    if version is None:
        raise LandedError(f"{path} is not a file that save_result wrote.")
    if version != _FORMAT_VERSION:
        raise LandedError(f"{path} is of format {version}, and this version of landed_jax reads {_FORMAT_VERSION}.")
    for attrs in (dataset.attrs, *(value.attrs for value in dataset.variables.values())):
        attrs.update({name: value.item() for name, value in attrs.items() if isinstance(value, np.generic)})
    return dataset


def check_result_path(path: str | os.PathLike[str]) -> Path:
    """Say early that a result cannot be written to this file, before the long work.

    Raises:
        LandedError: if it has another suffix, is a folder, or stands where nothing can be written.
    """
    target = _checked(path)
    if target.is_dir():
        raise LandedError(f"{path} is a folder: name a file in it.")
    if not target.parent.is_dir():
        raise LandedError(f"{path}: the folder {target.parent} does not exist.")
    if target.exists() and not target.is_file():
        raise LandedError(f"{path} is not an ordinary file, so it cannot be replaced.")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise LandedError(f"{path}: it cannot be written there.")
    return target


class _Context(NamedTuple):
    """What gives axes their coordinates."""

    tokens: Tokens | None
    at: np.ndarray | None
    config: ModelConfig | None
    vocabulary: Vocabulary | None


class _Leaf(NamedTuple):
    name: str
    dims: tuple[str, ...]  # "" where the annotation says 1
    values: np.ndarray


def _context(result: Any, trace: Trace | None) -> _Context:
    """The result's own tokens, columns, config and vocabulary; the trace's where it has none."""
    fields = dataclasses.fields(result) if dataclasses.is_dataclass(result) else ()
    own = [value for field in fields if (value := getattr(result, field.name)) is not None]

    def first(kind: type, otherwise: Any) -> Any:
        return next((value for value in own if isinstance(value, kind)), otherwise)

    otherwise = None if trace is None else trace.at
    at = getattr(result, "at", otherwise) if fields else otherwise  # an array's own `at` is another thing
    tokens = first(Tokens, None if trace is None else trace.tokens)
    if at is not None and not is_concrete(at):
        raise LandedError("Under jit or vmap a result has no values yet: label what comes out.")
    return _Context(
        tokens if tokens is not None and tokens.ids.ndim == 2 else None,  # vmap's would be one for each element
        np.asarray(at) if at is not None and at.ndim == 1 else None,
        first(ModelConfig, None if trace is None else trace.config),
        first(Vocabulary, None if trace is None else trace.vocabulary),
    )


def shape_of(annotation: Any) -> str | None:
    """The shape that a jaxtyping annotation names, also one that may be None."""
    return next((kind.dim_str for kind in (annotation, *get_args(annotation)) if hasattr(kind, "dim_str")), None)


def _walk(part: Any, prefix: str, derived: bool) -> Iterator[tuple[str, tuple[str, str] | None, Any]]:
    """Each value by its path: an array with its class and shape, or with None what belongs into the attributes."""
    owner = type(part).__name__
    for field in dataclasses.fields(part):
        name, value, shape = f"{prefix}{field.name}", getattr(part, field.name), shape_of(field.type)
        if value is None or isinstance(value, Tokens | ModelConfig | Vocabulary) or name == "at":
            continue
        if shape is not None:
            yield name, (owner, _ANNOTATED_OTHERWISE.get((owner, field.name), shape)), value
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


def _leaf(
    name: str, kind: tuple[str, str], value: Any, axes: Sequence[str] | None, context: _Context, derived: bool
) -> _Leaf:
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
            dims += _variadic(owner, rank, values.shape[len(dims) :], axes, context)
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
    return _Leaf(
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
    owner: str, rank: int, sizes: tuple[int, ...], axes: Sequence[str] | None, context: _Context
) -> tuple[str, ...]:
    known = () if rank <= 0 else next((names for names in _VARIADIC.get(owner, ()) if len(names) == rank), None)
    if axes is not None and rank > 0:
        known = tuple(axes) if len(axes) == rank else None
    elif known and known[0] == "site" and context.config is not None and sizes[0] == context.config.n_layers:
        known = ("layer", *known[1:])
    if known is None:
        raise LandedError(f"This {owner} has {rank} axes that have no names: give as many in axes=.")
    return known


def _sizes(leaves: list[_Leaf], context: _Context) -> dict[str, int]:
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
                names = read_sites(context.config)
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
        text = {token: context.vocabulary.text(token).replace("\0", "␀") for token in np.unique(ids[mask]).tolist()}
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


def _frame(array: "xarray.DataArray", dtype: np.dtype) -> "pandas.DataFrame":
    import pandas as pd

    values = array.astype(dtype)
    if not array.ndim:
        return pd.DataFrame({"value": [values.item()]}).astype({"value": dtype})
    return values.to_dataframe(name="value").reset_index()


def _checked(path: str | os.PathLike[str]) -> Path:
    source = Path(path)
    if source.suffix not in SUFFIXES:
        raise LandedError(f"{path}: a result's file ends in {' or '.join(SUFFIXES)}.")
    return source.resolve()  # through a link, to what it names


def _check_types(dataset: "xarray.Dataset") -> None:
    """What a file would change in writing is refused."""
    for name, value in dataset.variables.items():
        kind, size = value.dtype.kind, value.dtype.itemsize
        if kind not in "biufU" or (kind == "f" and size not in (4, 8)):
            raise LandedError(f"{name} is of type {value.dtype}, which a result's file does not hold.")
    for attrs in (dataset.attrs, *(value.attrs for value in dataset.variables.values())):
        for name, value in attrs.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float | np.integer | np.floating):
                raise LandedError(f"The attribute {name} is neither text nor a number: write it as JSON.")
