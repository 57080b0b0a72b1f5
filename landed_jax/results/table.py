"""A result in long form, one row an element: a table of `pandas`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.provenance import Provenance
from landed_jax.results.dataset import to_xarray
from landed_jax.trace import Trace

if TYPE_CHECKING:  # slow to import, and only these functions need them
    import pandas
    import xarray


def to_table(
    data: Any,
    trace: Trace | Provenance | None = None,
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
    >>> from landed_jax.analysis.basis import Coordinates
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


def _frame(array: "xarray.DataArray", dtype: np.dtype) -> "pandas.DataFrame":
    import pandas as pd

    values = array.astype(dtype)
    if not array.ndim:
        return pd.DataFrame({"value": [values.item()]}).astype({"value": dtype})
    return values.to_dataframe(name="value").reset_index()
