"""An interrupted conversion goes on where it stopped; memory is bounded by the largest part, not by the model."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landed_jax.checkpoints import native_arrays
from landed_jax.checkpoints.hf import shards
from landed_jax.checkpoints.hf.files import INDEX
from landed_jax.checkpoints.hf.table import tensor_places
from landed_jax.checkpoints.native import MANIFEST, load_native
from landed_jax.errors import LandedError, Refusal
from landed_jax.files.parts import Parts
from landed_jax.loading import convert, load
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import assert_same, make_tensors, read_folder, write_checkpoint
from tests.fulldisk import python

SMALL_PARTS = 6_000  # bytes: several parts of the small checkpoint

KILLED = """
import os, signal, sys
from landed_jax import loading
from landed_jax.checkpoints import native_arrays
from landed_jax.checkpoints.hf import shards
from landed_jax.files.parts import Parts

native_arrays._PART = shards._SHARD = int(sys.argv[3])
finish, left = Parts.finish, [3]

def finish_three(self, name):
    finish(self, name)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

Parts.finish = finish_three
loading.convert(sys.argv[1], sys.argv[2], hf=len(sys.argv) > 4)
"""


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_arrays, "_PART", SMALL_PARTS)
    monkeypatch.setattr(shards, "_SHARD", SMALL_PARTS)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a busy disk takes long, and no power is cut here


def interrupted(tmp_path: Path, hf: bool, killed: bool = False) -> tuple[Path, Path, Path]:
    """The source, the destination, and the folder that a conversion left which ended after three parts."""
    _, tensors = make_tensors()
    src, dst = write_checkpoint(tmp_path / "src", tensors), tmp_path / "out" / "dst"
    if killed:
        done = python(KILLED, src, dst, SMALL_PARTS, *(["hf"] if hf else []))
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        finish, names = Parts.finish, []

        def finish_three(self: Parts, name: str) -> None:
            finish(self, name)
            names.append(name)
            if len(names) == 3:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Parts, "finish", finish_three)
            convert(src, dst, hf=hf)
    (left,) = (path for path in dst.parent.iterdir() if path.is_dir())
    return src, dst, left


def times(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


def read_back(dst: Path, hf: bool) -> Any:
    return read_folder(dst) if hf else load_native(dst)[1]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("hf", "killed"), [(False, False), (True, False), (True, True)])
def test_finished_parts_are_not_written_again(tmp_path: Path, hf: bool, killed: bool) -> None:
    src, dst, left = interrupted(tmp_path, hf, killed)
    record = json.loads((left / "finished-parts.json").read_text())["parts"]
    assert len(record) == 3
    finished = {file for part in record.values() for file in part}
    before = {name: time for name, time in times(left).items() if name in finished}
    (left / "half-written").write_text("of the fourth part")
    seen: list[tuple[int, int]] = []
    convert(src, dst, lambda *at: seen.append(at), hf=hf)
    after = times(dst)
    assert before and {name: after[name] for name in before} == before
    assert len(after) > len(before) and not {"half-written", "finished-parts.json"} & set(after)
    assert os.listdir(dst.parent) == ["dst"]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1][0] == seen[-1][1]
    assert_same(read_back(dst, hf), make_tensors()[0])


@pytest.mark.usefixtures("small_parts")
def test_another_source_or_setting_begins_anew(tmp_path: Path) -> None:
    src, dst, left = interrupted(tmp_path, hf=True)
    params, tensors = make_tensors()
    tensors = {name: tensor + np.float32(1) for name, tensor in tensors.items()}
    write_checkpoint(src, tensors)
    convert(src, dst, hf=True)
    assert os.listdir(dst.parent) == ["dst"] and not left.exists()
    read = read_folder(dst)
    np.testing.assert_array_equal(read["embed"]["W_E"], np.asarray(params["embed"]["W_E"]) + np.float32(1))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("hf", [False, True])
def test_a_finished_part_that_changed_meanwhile_is_found(tmp_path: Path, hf: bool) -> None:
    src, dst, left = interrupted(tmp_path, hf)
    file = max((path for path in left.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(LandedError, match="is not what was written"):
        convert(src, dst, hf=hf)
    assert os.listdir(dst.parent) == []


@pytest.mark.usefixtures("small_parts")
def test_shards_are_those_of_other_programs(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    _, tensors = make_tensors()
    convert(write_checkpoint(tmp_path / "src", tensors), tmp_path / "dst", hf=True)
    index = json.loads((tmp_path / "dst" / INDEX).read_text())
    names = sorted(set(index["weight_map"].values()))
    assert len(names) > 2 and names[0] == f"model-00001-of-{len(names):05}.safetensors"
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    for name in names:
        for tensor, values in load_file(tmp_path / "dst" / name).items():
            assert index["weight_map"][tensor] == name
            np.testing.assert_array_equal(values, tensors.pop(tensor))
    assert not tensors


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("hf", [False, True])
def test_bad_values_are_all_listed_and_leave_nothing(tmp_path: Path, hf: bool) -> None:
    _, tensors = make_tensors()
    bad = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in (1, 2)]
    for name in bad:
        tensors[name] = tensors[name].copy()
        tensors[name][0, 0] = np.nan
    src = write_checkpoint(tmp_path / "src", tensors)
    with pytest.raises(Refusal) as caught:
        convert(src, tmp_path / "dst", hf=hf)
    assert [problem.split()[0] for problem in caught.value.problems] == bad
    assert os.listdir(tmp_path) == ["src"]


def test_the_parts_stand_in_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_arrays, "_PART", 1 << 20)
    convert("bundled", tmp_path / "native")
    parts = json.loads((tmp_path / "native" / MANIFEST).read_text())["parts"]
    assert len(parts) > 2
    assert sorted(map(int, os.listdir(tmp_path / "native" / "params"))) == list(range(len(parts)))
    assert_same(load(tmp_path / "native", stacked=False).params, load("bundled", stacked=False).params)


# The peak of what this process has to itself, above what it has before the conversion, in bytes.
WATCH = """
import sys, threading, time
from landed_jax.errors import LandedError, Refusal
from landed_jax.files.parts import Parts
from landed_jax.loading import convert, load
from landed_jax.checkpoints import native_arrays
from landed_jax.checkpoints.hf import shards

def own():
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) * 1024 for line in status if line.startswith(("RssAnon", "RssShmem")))

def watch():
    while not stop.is_set():
        peak[0] = max(peak[0], own())
        time.sleep(0.002)

convert("bundled", sys.argv[2] + "-first", hf=len(sys.argv) > 3)  # imports, and starts JAX
native_arrays._PART = shards._SHARD = 32 << 20
before, peak, stop = own(), [0], threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
convert(sys.argv[1], sys.argv[2], hf=len(sys.argv) > 3)
stop.set()
watcher.join()
print(peak[0] - before)
"""
DEEP = ModelConfig(vocab_size=64, d_model=512, n_layers=20, n_heads=8, n_kv_heads=8, head_dim=64, d_ff=2048)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
@pytest.mark.slow
@pytest.mark.parametrize("hf", [False, True])
def test_a_part_is_in_memory_at_a_time(tmp_path: Path, hf: bool) -> None:
    tensors = {place.name: np.full(place.entry.shape(DEEP), 0.01, np.float32) for place in tensor_places(DEEP)}
    size = sum(tensor.nbytes for tensor in tensors.values())
    src = write_checkpoint(tmp_path / "src", tensors, DEEP)
    del tensors
    done = python(WATCH, src, tmp_path / "dst", *(["hf"] if hf else []))
    assert size > 300 << 20
    assert int(done.stdout) < 4 * (32 << 20), done.stderr
