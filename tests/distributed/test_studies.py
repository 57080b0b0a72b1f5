"""A study by several processes is that of one: its store to the bit, in memory likewise; in step, to rounding."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landed_jax as landed
from tests.distributed.together import together
from tests.studies.runs import files_of, short_windows


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    [done] = together(1, "-m", "tests.distributed.studies", folder)
    assert done.status == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_of_one_and_of_several(count: int, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)  # as the program has them
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
    # Near ties among the largest may change places, and a closure error is rounding itself.
    left = [name for name in expected if any(part in str(name) for part in ("largest", "top.", "closure_error"))]
    xr.testing.assert_allclose(in_step.drop_vars(left), expected.drop_vars(left), atol=1e-4, rtol=1e-3)
