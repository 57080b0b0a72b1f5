"""Every analysis says the same of a model that lies on the devices of several processes."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landed_jax as landed
from tests.distributed.together import together


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    [done] = together(1, "-m", "tests.distributed.analyses", "model=1", folder)
    assert done.status == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices", "mesh"), [(2, 2, "model=4"), (4, 1, "data=2,model=2")])
def test_every_analysis(count: int, devices: int, mesh: str, alone: Path, tmp_path: Path) -> None:
    found = together(count, "-m", "tests.distributed.analyses", mesh, tmp_path, devices=devices)
    for done in found:
        assert done.status == 0, done.stderr
    expected = np.load(alone / "0.npz")
    assert len(expected.files) > 500
    for index in range(count):
        mine = np.load(tmp_path / f"{index}.npz")
        assert sorted(mine.files) == sorted(expected.files)
        for name in expected.files:
            assert mine[name].dtype == expected[name].dtype
            if expected[name].dtype.kind == "f":
                np.testing.assert_allclose(mine[name], expected[name], atol=1e-4, rtol=1e-3, err_msg=name)
            else:
                np.testing.assert_array_equal(mine[name], expected[name], err_msg=name)
    xr.testing.assert_allclose(
        landed.load_result(tmp_path / "shares.nc"), landed.load_result(alone / "shares.nc"), atol=1e-4, rtol=1e-3
    )
