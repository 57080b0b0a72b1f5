"""Tensors whose axes or rows stand in another order: GPT-2's inputs first, GPT-NeoX's query, key and value by head."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from landed_jax.checkpoints.hf import files
from landed_jax.checkpoints.hf.writer import write_checkpoint
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from tests.checkpoints import assert_same, read_folder
from tests.hf.test_adapter import RANK, write_adapter
from tests.models import LAYER_NORM, PARALLEL, random_params

GPT2 = dataclasses.replace(LAYER_NORM, n_layers=3, rotary_layers=(False,) * 3)
NEOX = dataclasses.replace(PARALLEL, n_layers=3, n_heads=4, n_kv_heads=4, d_model=16)
CONFIGS = {"gpt2": GPT2, "gpt_neox": NEOX}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def written(folder: Path, config: ModelConfig) -> dict[str, np.ndarray]:
    write_checkpoint(folder, config, random_params(config))
    return load_file(folder / "model.safetensors")


def test_gpt2_has_its_inputs_first(tmp_path: Path) -> None:
    tensors, layer = written(tmp_path, GPT2), random_params(GPT2)["layers"]["1"]
    names = {f"W_{n}": np.asarray(layer["attn"][f"W_{n}"]).reshape(-1, 10) for n in "QKV"}
    h = "transformer.h.1."
    np.testing.assert_array_equal(tensors[f"{h}attn.c_attn.weight"], np.concatenate([*names.values()]).T)
    biases = [np.asarray(layer["attn"][f"b_{n}"]).ravel() for n in "QKV"]
    np.testing.assert_array_equal(tensors[f"{h}attn.c_attn.bias"], np.concatenate(biases))
    np.testing.assert_array_equal(tensors[f"{h}attn.c_proj.weight"], np.asarray(layer["attn"]["W_O"]).reshape(10, -1).T)
    np.testing.assert_array_equal(tensors[f"{h}mlp.c_fc.weight"], layer["mlp"]["W_in"].T)
    np.testing.assert_array_equal(tensors[f"{h}mlp.c_proj.weight"], layer["mlp"]["W_down"].T)


def test_gpt_neox_has_query_key_and_value_of_one_head_after_another(tmp_path: Path) -> None:
    tensors, attn = written(tmp_path, NEOX), random_params(NEOX)["layers"]["2"]["attn"]
    module = "gpt_neox.layers.2.attention.query_key_value"
    whole = tensors[f"{module}.weight"].reshape(4, 3, 4, 16)
    bias = tensors[f"{module}.bias"].reshape(4, 3, 4)
    for part, name in enumerate("QKV"):
        np.testing.assert_array_equal(whole[:, part], attn[f"W_{name}"])
        np.testing.assert_array_equal(bias[:, part], attn[f"b_{name}"])


@each_config
@pytest.mark.parametrize("stacked", [False, True])
def test_it_is_read_back_in_chunks_each_number_once(config, stacked: bool, tmp_path: Path, monkeypatch) -> None:
    tensors = written(tmp_path, config)
    monkeypatch.setattr(files, "_CHUNK", 100)
    done: list[tuple[int, int]] = []
    params = read_folder(tmp_path, config, stacked=stacked, progress=lambda *now: done.append(now))
    assert_same(params, stack_layers(random_params(config)) if stacked else random_params(config))
    size = sum(tensor.nbytes for tensor in tensors.values())
    assert done[-1] == (size, size) and done[-2][0] < size


@each_config
@pytest.mark.parametrize("stacked", [False, True])
def test_straight_onto_a_mesh(config, stacked: bool, tmp_path: Path) -> None:
    written(tmp_path, config)
    mesh = jax.make_mesh((2,), ("model",), devices=jax.devices()[:2])
    params = read_folder(tmp_path, config, mesh=mesh, stacked=stacked)
    assert_same(params, stack_layers(random_params(config)) if stacked else random_params(config))
    key = (params["layers"] if stacked else params["layers"]["2"])["attn"]["W_K"]
    half = (config.n_heads // 2, config.head_dim, config.d_model)
    assert key.addressable_shards[0].data.shape == ((3,) if stacked else ()) + half


def old_gpt2(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As OpenAI's first checkpoints are: the base model's names, and causal masks among the weights."""
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    masks = {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 8, 8), np.float32)) for i in range(3)}
    return {**bare, **masks, "h.0.attn.masked_bias": np.float32(-1e4)[None]}


def old_gpt_neox(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With causal masks and rotary tables; and the unembedding under the name of its module."""
    layer = "gpt_neox.layers.1.attention."
    constants = {"bias": np.ones((1, 1, 8, 8), bool), "masked_bias": np.float32(-1e9)[None]}
    constants |= {"rotary_emb.inv_freq": np.ones(2, np.float32)}
    changed = {**tensors, "lm_head.weight": tensors["embed_out.weight"]}
    del changed["embed_out.weight"]
    return {**changed, **{f"{layer}{name}": value for name, value in constants.items()}}


@pytest.mark.parametrize(("config", "old"), [(GPT2, old_gpt2), (NEOX, old_gpt_neox)], ids=CONFIGS)
def test_old_checkpoints(config, old, tmp_path: Path) -> None:
    tensors = written(tmp_path, config)
    save_file(old(tensors), tmp_path / "model.safetensors")
    assert_same(read_folder(tmp_path, config), random_params(config))
    save_file({**tensors, "extra.attn.biases": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(LandedError, match=r"extra\.attn\.biases \[3\] is left over"):
        read_folder(tmp_path, config)


def test_an_adapter_of_a_weight_with_its_inputs_first_is_refused(tmp_path: Path) -> None:
    from landed_jax.checkpoints.hf.adapter import merge_adapter
    from landed_jax.checkpoints.hf.survey import survey_checkpoint
    from landed_jax.checkpoints.notes import Notes

    tensors = written(tmp_path, GPT2)
    write_adapter(tmp_path / "adapter", {"transformer.h.1.attn.c_proj": RANK}, tensors)
    with pytest.raises(LandedError, match=r"h\.1\.attn\.c_proj, whose weight has its inputs first"):
        merge_adapter(survey_checkpoint(tmp_path, GPT2), tmp_path / "adapter", Notes())
