"""A study by several processes is that of one: its store to the bit, in memory likewise; in step, to rounding."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landed_jax as landed
from tests.distributed.together import together
from tests.studies.runs import files_of


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    [done] = together(1, "-m", "tests.distributed.studies", folder)
    assert done.status == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_of_one_and_of_several(count: int, alone: Path, tmp_path: Path) -> None:
    for done in together(count, "-m", "tests.distributed.studies", tmp_path):
        assert done.status == 0, done.stderr
    assert files_of(tmp_path / "shares") == files_of(alone / "shares")
    for index in range(count):
        for what in ("rows", "means"):
            mine, theirs = (np.load(folder / f"{what} {n}.npz") for folder, n in ((tmp_path, index), (alone, 0)))
            assert mine.files == theirs.files
            for name in theirs.files:
                np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    in_step, expected = (
        landed.studies.opened(folder).to_xarray() for folder in (tmp_path / "in step", alone / "shares")
    )
    largest = [
        name for name in expected if "largest" in str(name) or "top." in str(name)
    ]  # near ties may change places
    xr.testing.assert_allclose(in_step.drop_vars(largest), expected.drop_vars(largest), atol=1e-4, rtol=1e-3)
