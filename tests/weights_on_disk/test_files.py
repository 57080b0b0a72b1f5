"""Leaves on disk are those that the reader reads, in every layout of a checkpoint; and what is wrong with one."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.checkpoints.hf.adapter import merge_adapter
from landed_jax.checkpoints.hf.on_disk import params_on_disk
from landed_jax.checkpoints.hf.reader import read_params
from landed_jax.checkpoints.hf.survey import survey_checkpoint
from landed_jax.checkpoints.hf.writer import write_checkpoint
from landed_jax.checkpoints.notes import Notes
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from landed_jax.nn.weights_on_disk import WeightOnDisk, in_memory
from tests import checkpoints
from tests.checkpoints import CONFIG, assert_same, make_tensors
from tests.hf.test_adapter import RANK, write_adapter
from tests.hf.test_expert_tensors import GPT_OSS, MIXTRAL
from tests.hf.test_fused import FUSED
from tests.hf.test_transposed import GPT2, NEOX
from tests.models import random_params

LAYOUTS = {
    "plain": CONFIG,
    "tied": dataclasses.replace(CONFIG, tie_embeddings=True),
    "fused": FUSED,
    "transposed": GPT2,
    "by head": NEOX,
    "experts": MIXTRAL,
    "experts together": GPT_OSS,
}
Q1 = "model.layers.1.self_attn.q_proj.weight"


def opened(folder: Path, config: ModelConfig = CONFIG) -> Params:
    return params_on_disk(survey_checkpoint(folder, config))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("config", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout(config: ModelConfig, dtype: Any, tmp_path: Path) -> None:
    params = random_params(config, dtype=dtype)
    write_checkpoint(tmp_path, config, params)
    disk = opened(tmp_path, config)
    assert_same(in_memory(disk), params)
    matrices = [leaf for leaf in jax.tree.leaves(disk) if isinstance(leaf, WeightOnDisk)]
    assert len(matrices) > 6 * config.n_layers
    jax.tree.map(lambda leaf, there: np.testing.assert_array_equal(leaf[len(leaf) - 1], there[-1]), disk, params)


def test_an_adapter_is_merged_as_layers_are_read(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    folder = checkpoints.write_checkpoint(tmp_path / "model", tensors)
    write_adapter(tmp_path / "adapter", {Q1.removesuffix(".weight"): RANK}, tensors)
    survey = merge_adapter(survey_checkpoint(folder, CONFIG), tmp_path / "adapter", Notes())
    disk = params_on_disk(survey)
    assert_same(in_memory(disk), read_params(survey))
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(LandedError, match=r"adapter_model.safetensors was changed after the model was opened"):
            in_memory(disk)
        file.unlink(missing_ok=True)


def test_a_loaded_model(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    checkpoints.write_shards(tmp_path, tensors)
    found, expected = (landed.load(tmp_path, stream=on).trace([[1, 5, 7]]) for on in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found.sown, expected.sown)


def test_a_truncated_file(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    file = checkpoints.write_checkpoint(tmp_path, tensors) / "model.safetensors"
    disk = opened(tmp_path)
    os.truncate(file, file.stat().st_size - 100)
    with pytest.raises(LandedError, match="changed after the model was opened"):
        in_memory(disk)
    with pytest.raises(LandedError, match="cut off or damaged"):
        opened(tmp_path)


def test_a_file_that_is_written_again_or_goes(tmp_path: Path) -> None:
    _, tensors = make_tensors()
    file = checkpoints.write_checkpoint(tmp_path, tensors) / "model.safetensors"
    leaf = opened(tmp_path)["layers"]["1"]["attn"]["W_Q"]
    save_file({name: 2 * tensor for name, tensor in load_file(file).items()}, file)
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(LandedError, match="changed after the model was opened"):
            leaf.read()
        file.unlink(missing_ok=True)


def test_values_that_are_not_finite_are_found_as_they_are_read(tmp_path: Path) -> None:
    _, tensors = make_tensors(dtype="bfloat16")
    tensors[Q1] = tensors[Q1].copy()
    tensors[Q1][2, 3] = np.inf
    checkpoints.write_checkpoint(tmp_path, tensors)
    model = landed.load(tmp_path, stream=True)
    with pytest.raises(LandedError, match=f"{Q1} holds 1 values that are not finite"):
        model.trace([[1, 5, 7]])
    tensors["model.norm.weight"] = np.full_like(tensors["model.norm.weight"], np.nan)
    checkpoints.write_checkpoint(tmp_path, tensors)
    with pytest.raises(LandedError, match=r"model\.norm\.weight holds 16 values"):
        landed.load(tmp_path, stream=True)


def test_what_is_not_streamed(tmp_path: Path) -> None:
    landed.convert("bundled", tmp_path / "native")
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("model",))
    asked: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("native folder, whose weights are read as a whole", tmp_path / "native", {}),
        ("leave stacked= out", "bundled", {"stacked": True}),
        ("leave mesh= out", "bundled", {"mesh": mesh}),
    )
    for refused, source, how in asked:
        with pytest.raises(LandedError, match=refused):
            landed.load(source, stream=True, **how)
