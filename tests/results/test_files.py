"""A result's file: what is damaged is found before HDF5 reads it, and a full disk costs a sentence."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from landed_jax.errors import LandedError
from landed_jax.results.files import load_result, save_result
from tests.fulldisk import command, python


def dataset() -> xr.Dataset:
    random = np.random.default_rng(0)
    return xr.Dataset(
        {"landed.heads": (("layer", "head"), random.normal(size=(4, 8))), "text": ("head", np.array(list("σabcdefg")))},
        {"layer": np.arange(4)},
        {"model": "bundled", "number": 3},
    )


@pytest.mark.slow
def test_a_changed_byte_anywhere_is_found(tmp_path: Path) -> None:
    save_result(dataset(), tmp_path / "whole.nc")
    whole = (tmp_path / "whole.nc").read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (tmp_path / "changed.nc").write_bytes(changed)
        with pytest.raises(LandedError, match="not what save_result wrote"):
            load_result(tmp_path / "changed.nc")
    assert load_result(tmp_path / "whole.nc").identical(dataset())


def test_a_file_that_is_cut_off_or_longer_is_found(tmp_path: Path) -> None:
    save_result(dataset(), tmp_path / "whole.nc")
    whole = (tmp_path / "whole.nc").read_bytes()
    for data in (b"", *(whole[:size] for size in range(0, len(whole), 97)), whole + b"\n", whole + whole):
        (tmp_path / "changed.nc").write_bytes(data)
        with pytest.raises(LandedError, match="not what save_result wrote"):
            load_result(tmp_path / "changed.nc")


def test_other_programs_read_it(tmp_path: Path) -> None:
    """The checksum stands behind what HDF5 and NetCDF know of."""
    import h5py

    save_result(dataset(), tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as opened:
        assert opened.load().identical(dataset())
    with h5py.File(tmp_path / "a.nc") as opened:
        np.testing.assert_array_equal(opened["landed.heads"], dataset()["landed.heads"])
    # A program that changes the file in place makes it another one.
    with h5py.File(tmp_path / "a.nc", "r+") as opened:
        opened["landed.heads"][0, 0] = 1.0
    with pytest.raises(LandedError, match="not what save_result wrote"):
        load_result(tmp_path / "a.nc")


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "a.nc").touch(0o600)
    save_result(dataset(), tmp_path / "a.nc")
    assert stat.S_IMODE((tmp_path / "a.nc").stat().st_mode) == 0o600


SAVE = """
import sys, numpy as np, xarray as xr
from landed_jax.errors import LandedError
from landed_jax.results.files import save_result
try:
    save_result(xr.Dataset({"x": ("i", np.zeros(100_000))}), sys.argv[1])
except LandedError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 1_000, 500_000])
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path, limit: int) -> None:
    save_result(dataset(), tmp_path / "a.nc")
    for name in ("a.nc", "new.nc"):
        done = python(SAVE, tmp_path / name, limit=limit)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{tmp_path / name} cannot be written: File too large.\n"
    assert os.listdir(tmp_path) == ["a.nc"]
    assert load_result(tmp_path / "a.nc").identical(dataset())


def test_a_run_on_a_full_disk(tmp_path: Path) -> None:
    done = command("run", "The Colosseum is in the city of", "--top", "0", "--out", tmp_path / "a.nc", limit=500)
    assert done.returncode == 2
    assert done.stderr == f"landed: {tmp_path / 'a.nc'} cannot be written: File too large.\n"
    assert os.listdir(tmp_path) == []


def test_the_package_does_not_import_the_libraries() -> None:
    code = "import sys, landed_jax.results.dataset; assert not {'xarray', 'h5netcdf', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
