"""A labelled result in one NetCDF file, with a checksum at its end.

HDF5 and NetCDF end where their own header says, so every program that reads NetCDF-4 reads past the checksum.
"""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from landed_jax.errors import LandedError
from landed_jax.files.atomic_file import write_file
from landed_jax.files.kinds import is_folder, status_of

if TYPE_CHECKING:  # slow to import, as NumPy is, and the check of a path needs neither
    import xarray

SUFFIXES = (".nc", ".nc4")
"""How a result's file may end."""

_SEAL = b"\nlanded_jax result 2, sha256 %s\n"


def save_result(dataset: "xarray.Dataset", path: str | os.PathLike[str]) -> None:
    """Write a `Dataset` to one NetCDF-4 file, replacing it at once: whole or not at all.

    `load_result` gives back an identical one. What such a file would not give back as it was is refused.

    Args:
        path: a file that ends in one of `SUFFIXES`.

    The whole file is made in memory first.

    Raises:
        LandedError: for a path that cannot be written, and types that the file cannot hold.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> from landed_jax.analysis.basis import Coordinates
    >>> from landed_jax.results import to_xarray
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
    # Without a fill value of None xarray declares NaN to mean "missing".
    encoding = {name: {"_FillValue": None} for name, value in dataset.variables.items() if value.dtype.kind == "f"}
    try:
        # In memory: where a disk is full, HDF5 brings the whole process down.
        data = dataset.drop_encoding().to_netcdf(format="NETCDF4", engine="h5netcdf", encoding=encoding)
    # Content that NetCDF cannot hold is a NotImplementedError of xarray (a MultiIndex), or one of the others by HDF5.
    except (OSError, ValueError, TypeError, NotImplementedError) as error:  # four types, by the kind of content
        raise LandedError(f"{path} cannot be written: {error}") from error
    write_file(target, b"".join([data, _SEAL % hashlib.sha256(data).hexdigest().encode()]))


def load_result(path: str | os.PathLike[str]) -> "xarray.Dataset":
    """A `Dataset` that `save_result` wrote, read into memory.

    Its checksum is compared first. (`xarray.open_dataset` opens the file too, and looks for no damage.)

    Raises:
        LandedError: if the file is not there, or is not what `save_result` wrote.

    >>> load_result("results.csv")
    Traceback (most recent call last):
    landed_jax.errors.LandedError: results.csv: a result's file ends in .nc or .nc4.
    """
    import numpy as np
    import xarray as xr

    source = _checked(path)
    if not source.is_file():
        raise LandedError(f"{path}: there is no such file.")
    try:
        if not _is_sealed(source):
            raise LandedError(f"{path} is not what save_result wrote: it is damaged, or another program's.")
        with xr.open_dataset(source, engine="h5netcdf", mask_and_scale=False, decode_times=False) as opened:
            dataset = opened.load().drop_encoding()
    except OSError as error:
        raise LandedError(f"{path} cannot be read: {error.strerror or error}.") from error
    for attrs in (dataset.attrs, *(value.attrs for value in dataset.variables.values())):
        attrs.update({name: value.item() for name, value in attrs.items() if isinstance(value, np.generic)})
    return dataset


def _is_sealed(source: Path) -> bool:
    """Whether a file ends in its own checksum: HDF5 would load other numbers from damaged ones, or never come back."""
    digest, left = hashlib.sha256(), source.stat().st_size - len(_SEAL % (b"0" * 64))
    with source.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 22))):
            digest.update(block)
            left -= len(block)
        return left == 0 and file.read() == _SEAL % digest.hexdigest().encode()


def check_result_path(path: str | os.PathLike[str]) -> Path:
    """Say early that a result cannot be written to this file, before the long work.

    Raises:
        LandedError: if it has another suffix, is a folder, or stands where nothing can be written.
    """
    target = _checked(path)
    if is_folder(target):
        raise LandedError(f"{path} is a folder: name a file in it.")
    if not is_folder(target.parent):
        raise LandedError(f"{path}: the folder {target.parent} does not exist.")
    if target.exists() and not target.is_file():
        raise LandedError(f"{path} is not an ordinary file, so it cannot be replaced.")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise LandedError(f"{path}: it cannot be written there.")
    return target


def _checked(path: str | os.PathLike[str]) -> Path:
    source = Path(path)
    if source.suffix not in SUFFIXES:
        raise LandedError(f"{path}: a result's file ends in {' or '.join(SUFFIXES)}.")
    status_of(source)  # or it says why not
    return source.resolve()  # through a link, to what it names


def _check_types(dataset: "xarray.Dataset") -> None:
    """What a file would change in writing is refused."""
    import numpy as np

    for name, value in dataset.variables.items():
        kind, size = value.dtype.kind, value.dtype.itemsize
        if kind not in "biufU" or (kind == "f" and size not in (4, 8)):
            raise LandedError(f"{name} is of type {value.dtype}, which a result's file does not hold.")
    for attrs in (dataset.attrs, *(value.attrs for value in dataset.variables.values())):
        for name, value in attrs.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float | np.integer | np.floating):
                raise LandedError(f"The attribute {name} is neither text nor a number: write it as JSON.")
