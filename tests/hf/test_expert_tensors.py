"""Leaves of all experts: from a tensor for each expert, or from one for all, in which gate and up take turns."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from landed_jax.checkpoints.hf import files
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.writer import write_checkpoint
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from tests.checkpoints import CONFIG, assert_same, read_folder
from tests.models import EXPERTS, random_params

MIXTRAL = dataclasses.replace(CONFIG, family="mixtral", n_experts=4, experts_per_token=2)
GPT_OSS = dataclasses.replace(EXPERTS, n_experts=4)
each_config = pytest.mark.parametrize("config", [MIXTRAL, GPT_OSS], ids=["each", "together"])


@pytest.fixture
def folder(config: ModelConfig, tmp_path: Path) -> Path:
    write_checkpoint(tmp_path, config, random_params(config))
    return tmp_path


@pytest.mark.parametrize("config", [GPT_OSS])
def test_gate_and_up_take_turns_with_inputs_first(folder: Path, config: ModelConfig) -> None:
    experts, name = random_params(config)["layers"]["1"]["experts"], "model.layers.1.mlp.experts."
    tensors = load_file(folder / "model.safetensors")
    for end, axes in (("", (0, 2, 1)), ("_bias", (0, 1))):
        kind = "b" if end else "W"
        both = tensors[f"{name}gate_up_proj{end}"]
        np.testing.assert_array_equal(both[..., ::2], np.transpose(experts[f"{kind}_gate"], axes))
        np.testing.assert_array_equal(both[..., 1::2], np.transpose(experts[f"{kind}_up"], axes))
    np.testing.assert_array_equal(tensors[f"{name}down_proj"], np.transpose(experts["W_down"], (0, 2, 1)))
    np.testing.assert_array_equal(tensors["model.layers.1.self_attn.sinks"].shape, (config.n_heads,))


@pytest.mark.parametrize("config", [MIXTRAL])
def test_each_expert_has_its_own_tensors(folder: Path, config: ModelConfig) -> None:
    experts, tensors = random_params(config)["layers"]["1"]["experts"], load_file(folder / "model.safetensors")
    for e in range(config.n_experts):
        for theirs, ours in (("w1", "W_gate"), ("w3", "W_up"), ("w2", "W_down")):
            name = f"model.layers.1.block_sparse_moe.experts.{e}.{theirs}.weight"
            np.testing.assert_array_equal(tensors[name], experts[ours][e])


@each_config
@pytest.mark.parametrize("stacked", [False, True])
def test_read_in_chunks_and_on_a_mesh(
    config: ModelConfig, folder: Path, stacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = stack_layers(random_params(config)) if stacked else random_params(config)
    monkeypatch.setattr(files, "_CHUNK", 60)
    assert_same(read_folder(folder, config, stacked=stacked), expected)
    mesh = jax.make_mesh((2,), ("model",), devices=jax.devices()[:2])
    placed = read_folder(folder, config, mesh=mesh, stacked=stacked)
    assert_same(placed, expected)
    leaf = (placed["layers"] if stacked else placed["layers"]["1"])["experts"]["W_gate"]
    lead = (config.n_layers,) if stacked else ()
    assert leaf.addressable_shards[0].data.shape == (*lead, config.n_experts, config.d_ff // 2, config.d_model)


@pytest.mark.parametrize("config", [MIXTRAL])
def test_experts_of_other_types_and_missing_ones_are_named(folder: Path, config: ModelConfig) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.block_sparse_moe.experts.{}.w2.weight"
    del tensors[name.format(3)]
    tensors[name.format(1)] = tensors[name.format(1)].astype(np.float16)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(LandedError, match=r"experts\.3\.w2\.weight \[16, 20\] is missing") as caught:
        read_folder(folder, config)
    assert "layers/0/experts/W_down is F16 and F32" in str(caught.value) or "F32 and F16" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("gpt_oss", {"quantization_config": {"quant_method": "mxfp4"}}, r"packed in 4 bits \(MXFP4\) are not read"),
        ("gpt_oss", {"swiglu_limit": 5.0}, "only 7.0 is read"),
        ("gpt_oss", {"experts_per_token": 3}, "another number"),
        ("qwen3_moe", {"mlp_only_layers": [1]}, "only where all of its layers have experts"),
        ("qwen3_moe", {"decoder_sparse_step": 2}, "only where all of its layers have experts"),
        ("olmoe", {"clip_qkv": 8.0}, "cut off"),
        ("mixtral", {"num_experts_per_tok": 9}, "not one to all of 8 experts"),
    ],
)
def test_what_is_refused(kind: str, fields: dict, said: str) -> None:
    with pytest.raises(LandedError, match=said):
        config_from_hf({"model_type": kind, **fields})
