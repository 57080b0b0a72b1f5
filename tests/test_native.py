"""The native folder: bit for bit there and back, whole or not at all, and every kind of damage named."""

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.checkpoints.native import MANIFEST, load_native, read_manifest, save_native
from landed_jax.errors import LandedError
from landed_jax.files.checksums import sealed
from landed_jax.files.json_object import read_json_object
from landed_jax.loading import convert, load
from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.parameters import count_parameters, init_params, stack_layers, unstack_layers
from tests.checkpoints import CONFIG, assert_same, make_tensors, write_checkpoint
from tests.fulldisk import ROOT, command, python
from tests.models import random_params


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    params, _ = make_tensors()
    dst = tmp_path_factory.mktemp("native") / "model"
    save_native(dst, CONFIG, params)
    return dst


def copy_of(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_come_back_bit_for_bit(tmp_path, dtype):
    params, _ = make_tensors(dtype=dtype)
    save_native(tmp_path / "a", CONFIG, stack_layers(params))
    read_config, read = load_native(tmp_path / "a")
    assert read_config == CONFIG
    assert_same(read, params)
    assert_same(load_native(tmp_path / "a", stacked=True)[1], stack_layers(params))


def test_every_fact_of_the_config_comes_back(tmp_path):
    config = ModelConfig(
        vocab_size=8, d_model=4, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=4, d_ff=6, family="mistral",
        activation="gelu", norm_eps=1e-3, max_positions=9, sliding_window=3, tie_embeddings=True, mlp_bias=True,
        rope=RopeConfig("yarn", 5e5, 4.0, 16, beta_fast=20.0, truncate=False, attention_factor=1.5),
        windowed_layers=(True, False), rotary_dim=2, query_growth=0.3,
        local_rope=RopeConfig("longrope", original_max_positions=3, short_factors=(1.5,), long_factors=(2.5,)),
    )  # fmt: skip
    save_native(tmp_path / "a", config, init_params(config, jax.random.key(1)))
    assert load_native(tmp_path / "a")[0] == config


@pytest.mark.parametrize("stacked", [False, True])
def test_straight_onto_a_mesh(saved, stacked):
    mesh = jax.make_mesh((2,), ("model",), devices=jax.devices()[:2])
    params = load_native(saved, mesh, stacked)[1]
    assert_same(params, load_native(saved, None, stacked)[1])
    query = (params["layers"] if stacked else params["layers"]["2"])["attn"]["W_Q"]
    assert query.addressable_shards[0].data.shape == ((3,) if stacked else ()) + (2, 6, 16)


def test_float64_needs_64_bit_types(tmp_path):
    try:
        jax.config.update("jax_enable_x64", True)  # Orbax reads in other threads, which a context does not reach
        save_native(tmp_path / "a", CONFIG, make_tensors(dtype="float64")[0])
        assert load_native(tmp_path / "a")[1]["embed"]["W_E"].dtype == "float64"
    finally:
        jax.config.update("jax_enable_x64", False)
    with jax.enable_x64(True), pytest.raises(LandedError, match="JAX_ENABLE_X64"):
        load_native(tmp_path / "a")
    with pytest.raises(LandedError, match="JAX_ENABLE_X64"):
        load_native(tmp_path / "a")


def test_nothing_is_overwritten(saved, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for dst in (saved, tmp_path / "file", tmp_path / "dangling"):
        with pytest.raises(LandedError, match="already there"):
            save_native(dst, CONFIG, {})
        with pytest.raises(LandedError, match="already there"):
            convert("never looked at", dst)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_error_leaves_nothing_behind(tmp_path, monkeypatch):
    params, _ = make_tensors()

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("landed_jax.checkpoints.native.write_parts", fail)
    with pytest.raises(LandedError, match=r"cannot be written: No space left"):
        save_native(tmp_path / "a", CONFIG, params)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LandedError, match="cannot be written"):
        save_native(tmp_path / "file" / "a", CONFIG, make_tensors()[0])


def _manifest(folder, **changes):
    """Another manifest that is whole in itself, as a program with a mistake would write it."""
    values = json.loads((folder / MANIFEST).read_text())
    del values["checksum"]
    (folder / MANIFEST).write_text(json.dumps(sealed({**values, **changes})))


def _largest(folder) -> Path:
    return max((f for f in (folder / "params").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def _cut(folder):
    file = _largest(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _remove_arrays(folder):
    shutil.rmtree(folder / "params")


DAMAGE = {
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "has no landed.json"),
    "no JSON": (lambda f: (f / MANIFEST).write_text("{"), "cannot be read as JSON"),
    "newer format": (lambda f: _manifest(f, format=99), "is of format 99"),
    "no config": (lambda f: _manifest(f, config=None), "is damaged"),
    "wrong config": (lambda f: _manifest(f, config={"d_model": 3}), "fields of a model configuration"),
    "no parts": (lambda f: _manifest(f, parts=[]), "is damaged"),
    "strange parts": (lambda f: _manifest(f, parts=5), "is damaged"),
    "strange type": (lambda f: _manifest(f, parts=[{"embed/W_E": "int8"}]), "is damaged"),
    "no arrays": (_remove_arrays, "is damaged, convert again"),
    "no list of files": (lambda f: _manifest(f, files=None), "lists no files: convert again"),
    "an array file gone": (lambda f: _largest(f).unlink(), "is damaged, convert again"),
    "an array file cut off": (_cut, "is damaged, convert again"),
    "arrays of another shape": (
        lambda f: _manifest(f, config={**CONFIG.to_dict(), "d_ff": 22}),
        "are damaged, convert again",
    ),
    "arrays of another depth": (
        lambda f: _manifest(f, config={**CONFIG.to_dict(), "n_layers": 2}),
        "is damaged: convert again",
    ),
}


@pytest.mark.quick
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(saved, tmp_path, kind, capfd):
    folder = copy_of(saved, tmp_path)
    damage, said = DAMAGE[kind]
    damage(folder)
    with pytest.raises(LandedError, match=re.escape(said)) as caught:
        load_native(folder)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


KILLED = """
import os, signal, sys
from pathlib import Path
from landed_jax import loading
from landed_jax.checkpoints import native_arrays as native

def killed(function, before):
    def run(*args, **kwargs):
        if not before:
            function(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return run

stage, src, dst = sys.argv[1:]
if stage == "before the arrays":
    native._write_arrays = killed(native._write_arrays, before=True)
if stage == "after the arrays":
    native._write_arrays = killed(native._write_arrays, before=False)
if stage == "among the arrays":
    from orbax.checkpoint import v1 as ocp
    ocp.save = lambda *args: (ocp.save_async(*args), os.kill(os.getpid(), signal.SIGKILL))
if stage == "before the name":
    Path.rename = killed(Path.rename, before=True)
loading.convert(src, dst)
"""


@pytest.mark.parametrize("stage", ["before the arrays", "among the arrays", "after the arrays", "before the name"])
def test_a_killed_conversion_leaves_nothing_that_loads(tmp_path, stage):
    params, tensors = make_tensors()
    src, dst = write_checkpoint(tmp_path / "src", tensors), tmp_path / "out" / "dst"
    result = python(KILLED, stage, src, dst)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert not dst.exists()
    folder, lock = sorted(dst.parent.iterdir(), key=Path.is_file)
    assert lock.name == ".dst.lock"
    with pytest.raises(LandedError, match="interrupted conversion"):
        load(folder)
    convert(src, dst)
    assert list(dst.parent.iterdir()) == [dst]
    assert_same(load_native(dst)[1], params)


MEASURED = """
import re, sys
from pathlib import Path
from landed_jax.loading import convert
convert(*sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_converting_needs_the_parameters_and_one_layer(tmp_path):
    def peak(config: ModelConfig, name: str) -> int:
        _, tensors = make_tensors(config)
        src = write_checkpoint(tmp_path / name, tensors, config)
        result = python(MEASURED, src, tmp_path / f"{name} converted")
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""  # nothing of Orbax's chatter
        return int(result.stdout) * 1024

    big = ModelConfig(
        vocab_size=2048, d_model=512, n_layers=12, n_heads=8, n_kv_heads=8, head_dim=64, d_ff=2048, max_positions=64
    )
    parameters = 4 * count_parameters(big)
    layer = (parameters - 4 * 2 * 2048 * 512) // 12
    assert 190e6 < parameters < 220e6
    assert peak(big, "big") - peak(CONFIG, "tiny") <= parameters + layer


def test_stacked_numpy_weights_are_saved_in_their_own_type(tmp_path: Path) -> None:
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), random_params(CONFIG))
    layers = [params["layers"][str(i)] for i in range(CONFIG.n_layers)]
    stacked = {**params, "layers": jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}
    assert_same(unstack_layers(stacked), params)
    save_native(tmp_path / "native", CONFIG, stacked)
    manifest = json.loads((tmp_path / "native" / MANIFEST).read_text())
    assert {kind for part in manifest["parts"] for kind in part.values()} == {"float64"}


def test_a_changed_byte_in_the_weights_is_found(tmp_path: Path) -> None:
    config = ModelConfig(vocab_size=64, d_model=32, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48)
    save_native(tmp_path / "native", config, init_params(config, jax.random.key(0)))
    largest = max((tmp_path / "native" / "params").rglob("*"), key=lambda f: f.stat().st_size if f.is_file() else 0)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(LandedError, match="damaged, convert again"):
        load_native(tmp_path / "native")


def _one_large_leaf(size: int) -> tuple[ModelConfig, dict]:
    """A model whose embedding takes `size` bytes, in numbers that tell their place."""
    config = ModelConfig(vocab_size=size // 1024, d_model=256, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=1)
    params = init_params(config, jax.random.key(0))
    params["embed"]["W_E"] = jnp.arange(size // 4, dtype=jnp.int32).astype(jnp.float32).reshape(-1, 256)
    assert params["embed"]["W_E"].nbytes == size
    return config, params


# Around the bytes that Orbax moves at a time, and three times as many, which only room for a larger leaf lets through.
@pytest.mark.parametrize("mebibytes", [31, 32, 33, 96])
def test_large_leaves_are_converted_and_saved_and_loaded(tmp_path: Path, mebibytes: int) -> None:
    config, params = _one_large_leaf(mebibytes << 20)
    src = write_checkpoint(tmp_path / "src", dict(to_hf(params, config)), config)
    convert(src, tmp_path / "converted")
    assert_same(load_native(tmp_path / "converted")[1], params)
    if mebibytes < 96:  # what `convert` does with what it has read
        save_native(tmp_path / "saved", config, stack_layers(params))
        assert_same(load_native(tmp_path / "saved")[1], params)
    shutil.rmtree(tmp_path)


def test_every_changed_bit_of_the_manifest_is_found(tmp_path: Path) -> None:
    """Each either is refused, or says the same; of one layer, as the lines of others are the same again."""
    small = dataclasses.replace(CONFIG, n_layers=1)
    saved = tmp_path / "model"
    save_native(saved, small, make_tensors(small)[0])
    file = saved / MANIFEST
    whole, said = file.read_bytes(), read_json_object(file)
    config, harmless = read_manifest(saved), 0
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            file.write_bytes(changed)
            try:
                assert read_manifest(saved) == config
            except LandedError:
                continue
            assert read_json_object(file) == said
            harmless += 1
    assert harmless < len(whole) / 10  # white space


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json"])
def test_a_changed_byte_beside_the_weights_is_found(tmp_path: Path, name: str) -> None:
    convert("bundled", tmp_path / "native")
    content = bytearray((tmp_path / "native" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "native" / name).write_bytes(content)
    with pytest.raises(LandedError, match=f"damaged, convert again: {name} is not what was written"):
        load(tmp_path / "native")


@pytest.mark.parametrize("limit", [0, 100_000, 1_000_000])  # nothing fits; the tokenizer does; some weights do
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    done = command("convert", "bundled", tmp_path / "deep" / "native", limit=limit)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("landed: ") and done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
    assert os.listdir(tmp_path) == []


TOGETHER = """
import sys
import jax
import numpy as np
from pathlib import Path
from jax.sharding import Mesh
number, port, dst = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", 2, number)
import landed_jax as landed
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.loading import convert
mesh = Mesh(np.array(jax.devices()), ("model",))
model = landed.load(mesh=mesh, stacked=False)
assert not model.params["layers"]["0"]["mlp"]["W_up"].is_fully_addressable
model.save(dst / "sharded")
convert("bundled", dst / "converted")
held = landed.load()
held.save(dst / "whole")
for work in (lambda: model.save(dst / "sharded"), lambda: convert("bundled", dst / "converted"),
             lambda: held.save(dst / "whole"), lambda: convert(dst / "nowhere", dst / "new")):
    try:
        work()
    except landed.LandedError as error:
        print(error)
print("done")
"""


def test_processes_of_one_program_write_one_folder(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(number), str(port), str(tmp_path)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    for process in processes:
        said, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert said.count("already there") == 3 and "There is no folder" in said and said.endswith("done\n")
    assert sorted(os.listdir(tmp_path)) == ["converted", "sharded", "whole"]
    bundled = load("bundled", stacked=False)
    for name in os.listdir(tmp_path):
        assert_same(load(tmp_path / name, stacked=False).params, bundled.params)
        assert load(tmp_path / name).vocabulary is not None


@pytest.mark.parametrize("name", ["added_tokens.json", "special_tokens_map.json", "params/more"])
def test_a_file_that_was_not_written_with_it_is_found(tmp_path: Path, name: str) -> None:
    convert("bundled", tmp_path / "native")
    (tmp_path / "native" / "NOTES.md").write_text("one's own")
    load(tmp_path / "native")
    (tmp_path / "native" / name).write_text("{}")
    with pytest.raises(LandedError, match=f"{name} was not written with it"):
        load(tmp_path / "native")
