"""Tensors that hold several leaves, row under row: Phi-3's query, key and value, and its gate and up."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from landed_jax.checkpoints.hf import files
from landed_jax.checkpoints.hf.adapter import merge_adapter
from landed_jax.checkpoints.hf.reader import read_params
from landed_jax.checkpoints.hf.survey import survey_checkpoint
from landed_jax.checkpoints.hf.table import entries, to_hf
from landed_jax.checkpoints.hf.writer import write_checkpoint
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError
from landed_jax.families import families
from landed_jax.nn.parameters import LEAVES, Params, stack_layers
from tests.checkpoints import CONFIG, assert_same, read_folder
from tests.hf.test_adapter import ALPHA, RANK, write_adapter
from tests.models import random_params

FUSED = dataclasses.replace(CONFIG, family="phi3")
QKV, GATE_UP = "model.layers.1.self_attn.qkv_proj", "model.layers.1.mlp.gate_up_proj"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path, FUSED, random_params(FUSED))
    return tmp_path


def rewrite(folder: Path, **changed: np.ndarray) -> None:
    file = folder / "model.safetensors"
    save_file({**load_file(file), **changed}, file)


def refusal(folder: Path) -> str:
    with pytest.raises(LandedError) as caught:
        read_folder(folder, FUSED)
    return str(caught.value)


def test_a_tensor_is_its_leaves_rows_in_order(folder: Path) -> None:
    attn, mlp = (random_params(FUSED)["layers"]["1"][part] for part in ("attn", "mlp"))
    tensors = load_file(folder / "model.safetensors")
    rows = [np.asarray(attn[f"W_{n}"]).reshape(-1, 16) for n in "QKV"]
    np.testing.assert_array_equal(tensors[f"{QKV}.weight"], np.concatenate(rows))
    np.testing.assert_array_equal(tensors[f"{GATE_UP}.weight"], np.concatenate([mlp["W_gate"], mlp["W_up"]]))


@pytest.mark.parametrize("stacked", [False, True])
def test_each_leaf_reads_its_own_rows_and_no_others(folder: Path, stacked: bool, monkeypatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 100)
    seen: list[tuple[int, int]] = []
    params = read_folder(folder, FUSED, stacked=stacked, progress=lambda *done: seen.append(done))
    expected = random_params(FUSED)
    assert_same(params, stack_layers(expected) if stacked else expected)
    size = sum(t.nbytes for t in load_file(folder / "model.safetensors").values())
    assert [total for _, total in seen] == [size] * len(seen) and seen[-1][0] == size > seen[-2][0]


@pytest.mark.parametrize("stacked", [False, True])
def test_straight_onto_a_mesh(folder: Path, stacked: bool) -> None:
    mesh = jax.make_mesh((2,), ("model",), devices=jax.devices()[:2])
    params: Params = read_folder(folder, FUSED, mesh=mesh, stacked=stacked)
    assert_same(params, stack_layers(random_params(FUSED)) if stacked else random_params(FUSED))
    key = (params["layers"] if stacked else params["layers"]["2"])["attn"]["W_K"]
    assert key.addressable_shards[0].data.shape == ((3,) if stacked else ()) + (1, 6, 16)


def test_every_fault_is_said_once(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    spoilt = tensors[f"{QKV}.weight"].copy()
    spoilt[[0, 25, 40], 3] = np.nan  # of the query, the key and the value
    rewrite(folder, **{f"{QKV}.weight": spoilt})
    assert refusal(folder).count("not finite") == 1
    assert f"{QKV}.weight holds 3 values that are not finite" in refusal(folder)
    rewrite(folder, **{f"{GATE_UP}.weight": tensors[f"{GATE_UP}.weight"][:-1].copy()})
    message = refusal(folder)
    assert message.count(QKV) == message.count(GATE_UP) == 1
    assert f"{GATE_UP}.weight has shape [39, 16], not [40, 16]" in message


def test_an_adapter_of_the_whole_tensor(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    factors = write_adapter(tmp_path / "adapter", {QKV: RANK, GATE_UP: RANK}, tensors)
    read = to_hf(read_params(merge_adapter(survey_checkpoint(folder, FUSED), tmp_path / "adapter", Notes())), FUSED)
    for module, (down, up) in factors.items():
        whole = tensors[f"{module}.weight"].astype(np.float64)
        expected = whole + ALPHA / RANK * up.astype(np.float64) @ down.astype(np.float64)
        np.testing.assert_array_equal(read[f"{module}.weight"], expected.astype(np.float32))


@pytest.mark.parametrize("family", families())
def test_leaves_of_one_tensor_are_of_one_kind(family: str) -> None:
    by_name: dict[str, list[str]] = {}
    for leaf, name in families()[family].names.items():
        by_name.setdefault(name, []).append(leaf)
    for leaves in by_name.values():
        assert len({LEAVES[leaf].present for leaf in leaves}) == 1  # a model has all of them, or none
        assert len({entries(family)[leaf].merged[1:] for leaf in leaves}) == 1
