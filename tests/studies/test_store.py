"""A store is the same however often its study was cut off; one process writes it; damage is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.files import atomic_file
from landed_jax.files.atomic_folder import sole_writer
from landed_jax.studies import _store, _zarr
from tests.compiling import XLA_FLAGS
from tests.fulldisk import ROOT, python
from tests.studies.runs import files_of, prompts_of, short_windows, tiny

KEEP = ("scale", "stability", "attribution", "top")
PROMPTS = [*prompts_of(29), [], [99]]


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.quick
def test_cut_off_after_any_file_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file that is written is once the last one; and once it is written, but its commit is not."""
    short_windows(monkeypatch)
    model, whole, keep = tiny(), tmp_path / "whole", ("scale", "stability", "top")  # every kind of statistic
    landed.study(model, PROMPTS, keep, whole)
    expected, write = files_of(whole), atomic_file.write_file
    left = 0

    def counted(path: Path, data: bytes, *, sync: bool = True) -> None:
        nonlocal left
        if left == 0:
            raise Cut
        left -= 1
        write(path, data, sync=sync)

    for module in (_store, _zarr):
        monkeypatch.setattr(module, "write_file", counted)
    files = 1
    for number in (0, 5, 19, 10_000):
        store, files = tmp_path / f"cut {number}", 0
        while True:
            left = number + files  # every time a little further, as a process that is killed again and again
            files += 13
            try:
                landed.study(model, PROMPTS, keep, store)
            except Cut:
                continue
            break
        assert files_of(store) == expected, number


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    code = """
import sys
from landed_jax.studies import _batches, _merge, _store, study
from tests.studies.runs import prompts_of, tiny
_store.SECONDS = _store._SHARE = 0.0
study(tiny(), prompts_of(6000), ("scale", "attribution"), sys.argv[1])
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA_FLAGS}
    random, killed, store = np.random.default_rng(), tmp_path / "killed", tmp_path / "whole"
    assert python(code, store).returncode == 0
    kills = 0
    while kills < 3:
        process = subprocess.Popen([sys.executable, "-c", code, str(killed)], env=environment)
        before = (killed / "progress.json").stat().st_mtime_ns if (killed / "progress.json").exists() else 0
        while process.poll() is None:
            there = killed / "progress.json"
            if there.exists() and there.stat().st_mtime_ns != before:
                time.sleep(random.uniform(0, 0.1))
                break
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        assert process.returncode in (-signal.SIGKILL, 0)
        if process.returncode == 0:
            break
    assert kills == 3, "the study ended before it was killed three times"
    assert python(code, killed).returncode == 0
    assert files_of(killed) == files_of(store)


def test_xarray_opens_what_the_study_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zarr", reason="zarr is the reader that this test is about")
    short_windows(monkeypatch)
    model = tiny()
    found = landed.study(model, PROMPTS, KEEP, tmp_path / "store").to_xarray()
    opened = xr.open_zarr(tmp_path / "store").load().sortby("prompt")
    in_memory = landed.study(model, PROMPTS, KEEP).to_xarray()
    assert set(opened.variables) == set(found.variables) == set(in_memory.variables)
    for name, value in found.variables.items():
        assert value.dims == opened[name].dims
        np.testing.assert_array_equal(value.values, opened[name].values)
        np.testing.assert_array_equal(value.values, in_memory[name].values)
    assert opened["site"].values.tolist()[-1] == "final" and opened.attrs["model"] == "tiny"
    assert opened.sizes["prompt"] == len(PROMPTS)


def test_an_unfinished_store_is_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zarr", reason="zarr is the reader that this test is about")
    short_windows(monkeypatch)

    def stop(done: int, total: int | None) -> None:
        if done >= 20:
            raise Cut

    with pytest.raises(Cut):
        landed.study(tiny(), PROMPTS, KEEP, tmp_path / "store", watch=stop)
    opened = xr.open_zarr(tmp_path / "store")
    assert opened.sizes["prompt"] == 12 and np.isfinite(opened["attribution.value"].values).all()
    assert landed.studies.opened(tmp_path / "store").prompts == 20


def test_other_settings_other_prompts_and_damage_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_windows(monkeypatch)
    model, store = tiny(), tmp_path / "store"
    landed.study(model, PROMPTS, KEEP, store)
    before = files_of(store)
    with pytest.raises(LandedError, match="other settings: keep is "):
        landed.study(model, PROMPTS, ("scale",), store)
    with pytest.raises(LandedError, match="no longer holds the prompts"):
        landed.study(model, prompts_of(31, seed=5), KEEP, store)
    for more in (PROMPTS[:-1], [*PROMPTS, [1]]):
        with pytest.raises(LandedError, match=r"no longer holds|other settings"):
            landed.study(model, more, KEEP, store)
    other = landed.Model(model.config, {**model.params, "embed": {"W_E": -model.params["embed"]["W_E"]}}, source="tiny")
    with pytest.raises(LandedError, match=r"model\.weights is"):
        landed.study(other, PROMPTS, KEEP, store)
    assert files_of(store) == before
    landed.study(model, PROMPTS, KEEP, store)
    assert files_of(store) == before
    state = next(store.glob("state-*.npz"))
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    with pytest.raises(LandedError, match="is damaged"):
        landed.study(model, PROMPTS, KEEP, store)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    with pytest.raises(LandedError, match="is no study"):
        landed.study(model, PROMPTS, KEEP, tmp_path / "folder")


def test_a_second_writer_is_told(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "store"), pytest.raises(LandedError, match="is being written by another process"):
        landed.study(tiny(), PROMPTS, KEEP, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_study_goes_on_later(tmp_path: Path) -> None:
    code = """
import sys
from landed_jax import LandedError, study
from tests.studies.runs import prompts_of, tiny
try:
    study(tiny(), prompts_of(80), ("attribution",), sys.argv[1])
except LandedError as error:
    print(error)
"""
    store = tmp_path / "store"
    full = python(code, store, limit=9000)
    assert full.returncode == 0 and "cannot be written: File too large" in full.stdout and full.stdout.count("\n") == 1
    assert python(code, store).stdout == "" and python(code, tmp_path / "other").stdout == ""
    assert files_of(store) == files_of(tmp_path / "other")
