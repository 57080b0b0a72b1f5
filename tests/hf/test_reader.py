"""The streaming reader: every layout it reads, and every kind of damage it names."""

import dataclasses

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from landed_jax.checkpoints.hf import files, reader
from landed_jax.errors import LandedError
from landed_jax.nn.parameters import stack_layers
from tests.checkpoints import (
    CONFIG,
    assert_same,
    make_tensors,
    read_folder,
    write_checkpoint,
    write_index,
    write_shards,
)
from tests.needs import NO_TORCH

TIED = dataclasses.replace(CONFIG, tie_embeddings=True)
WITH_BIASES = dataclasses.replace(CONFIG, qkv_bias=True, output_bias=True, mlp_bias=True)
Q1 = "model.layers.1.self_attn.q_proj.weight"
NORM = "model.norm.weight"


def refusal(folder, config=CONFIG, **options) -> str:
    with pytest.raises(LandedError) as caught:
        read_folder(folder, config, **options)
    return str(caught.value)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
def test_weights_come_back_bit_for_bit(tmp_path, dtype, stacked, sharded):
    params, tensors = make_tensors(dtype=dtype)
    (write_shards if sharded else write_checkpoint)(tmp_path, tensors)
    assert_same(read_folder(tmp_path, CONFIG, stacked=stacked), stack_layers(params) if stacked else params)


@pytest.mark.parametrize("config", [TIED, WITH_BIASES], ids=["tied", "biases"])
def test_other_models(tmp_path, config):
    params, tensors = make_tensors(config)
    assert_same(read_folder(write_checkpoint(tmp_path, tensors, config), config), params)


def test_chunks_join(tmp_path, monkeypatch):
    params, tensors = make_tensors()
    monkeypatch.setattr(files, "_CHUNK", 100)
    seen = []
    read = read_folder(write_checkpoint(tmp_path, tensors), CONFIG, progress=lambda *done: seen.append(done))
    assert_same(read, params)
    total = sum(t.nbytes for t in tensors.values())
    assert seen[-1] == (total, total) and len(seen) > 100
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("model_type", ["llama", "mistral"])
def test_what_transformers_saves_is_read(tmp_path, model_type):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    import json

    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    from landed_jax.checkpoints.hf.gate import config_from_hf
    from landed_jax.checkpoints.hf.table import to_hf

    kinds = {"llama": (LlamaConfig, LlamaForCausalLM), "mistral": (MistralConfig, MistralForCausalLM)}
    make_config, make_model = kinds[model_type]
    sizes = dict(
        vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=6, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    model = make_model(make_config(**sizes))
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    config = config_from_hf(json.loads((tmp_path / "config.json").read_text()))
    ours = to_hf(read_folder(tmp_path, config), config)
    reference = {name: p.detach().numpy() for name, p in model.named_parameters()}
    assert sorted(ours) == sorted(reference)
    assert all(np.array_equal(ours[name], reference[name]) for name in reference)


def test_float64_needs_64_bit_types(tmp_path):
    _, tensors = make_tensors()
    write_checkpoint(tmp_path, {name: t.astype(np.float64) for name, t in tensors.items()})
    assert "JAX_ENABLE_X64=1" in refusal(tmp_path)
    with jax.enable_x64(True):
        assert read_folder(tmp_path, CONFIG)["embed"]["W_E"].dtype == np.float64


@pytest.mark.parametrize("devices", [2, 4, 8])
@pytest.mark.parametrize("stacked", [False, True])
def test_straight_onto_a_mesh(tmp_path, devices, stacked):
    params, tensors = make_tensors()
    write_checkpoint(tmp_path, tensors)
    mesh = jax.make_mesh((devices,), ("model",), devices=jax.devices()[:devices])
    placed = read_folder(tmp_path, CONFIG, mesh=mesh, stacked=stacked)
    assert_same(placed, stack_layers(params) if stacked else params)
    layer = placed["layers"] if stacked else placed["layers"]["0"]
    lead = (3,) if stacked else ()

    def held(leaf):
        return leaf.addressable_shards[0].data.shape

    heads, kv_heads = (4 // devices, 2 // devices) if devices <= 2 else (1 if devices == 4 else 4, 2)
    assert held(layer["attn"]["W_Q"]) == (*lead, heads, 6, 16)
    assert held(layer["attn"]["W_O"]) == (*lead, 16, heads, 6)
    assert held(layer["attn"]["W_K"]) == (*lead, kv_heads, 6, 16)
    assert held(layer["mlp"]["W_down"]) == (*lead, 16, 20 // devices if 20 % devices == 0 else 20)
    assert held(placed["embed"]["W_E"]) == (24 // devices, 16)
    assert held(placed["final_norm"]["gamma"]) == (16,)


def test_a_mesh_without_a_model_axis_replicates(tmp_path):
    params, tensors = make_tensors()
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    placed = read_folder(write_checkpoint(tmp_path, tensors), CONFIG, mesh=mesh)
    assert_same(placed, params)
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(placed))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only on CPU is a host buffer the device's own")
def test_the_buffers_are_taken_over_not_copied(tmp_path, monkeypatch):
    _, tensors = make_tensors()
    buffers = []
    make = reader._aligned_empty
    monkeypatch.setattr(reader, "_aligned_empty", lambda *args: buffers.append(make(*args)) or buffers[-1])
    params = read_folder(write_checkpoint(tmp_path, tensors), CONFIG)
    addresses = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(params)}
    assert addresses == {buffer.ctypes.data for buffer in buffers}


DAMAGE = {
    "missing": (lambda t: t.pop(Q1), f"{Q1} [24, 16] is missing"),
    "surplus": (lambda t: t.update(extra=np.ones((2, 3), np.float32)), "extra [2, 3] is left over"),
    "misshapen": (lambda t: t.update({Q1: t[Q1].T.copy()}), f"{Q1} has shape [16, 24], not [24, 16]"),
    "scalar": (lambda t: t.update({NORM: np.array(1, np.float32)}), f"{NORM} has shape [], not [16]"),
    "int8": (lambda t: t.update({Q1: t[Q1].astype(np.int8)}), f"{Q1} is of type I8"),
    "float8": (lambda t: t.update({Q1: t[Q1].astype(ml_dtypes.float8_e4m3fn)}), f"{Q1} is of type F8_E4M3"),
    "nan": (lambda t: t.update({NORM: t[NORM] * np.float32("nan")}), f"{NORM} holds 16 values that are not finite"),
    "bias": (lambda t: t.update({Q1.replace("weight", "bias"): np.ones(24, np.float32)}), "q_proj.bias [24] is left"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_of_damage_is_named(tmp_path, kind):
    _, tensors = make_tensors()
    damage, said = DAMAGE[kind]
    damage(tensors)
    assert said in refusal(write_checkpoint(tmp_path, tensors))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_infinity_in_half_types(tmp_path, dtype):
    _, tensors = make_tensors(dtype=dtype)
    tensors[Q1] = tensors[Q1].copy()
    tensors[Q1][3, 2] = np.inf
    assert f"{Q1} holds 1 values that are not finite" in refusal(write_checkpoint(tmp_path, tensors))
    assert f"{Q1} holds 1 values that are not finite" in refusal(tmp_path, stacked=True)


@pytest.mark.quick
def test_everything_wrong_is_said_at_once(tmp_path):
    _, tensors = make_tensors()
    for kind in ("surplus", "int8", "nan"):
        DAMAGE[kind][0](tensors)
    tensors["model.layers.2.mlp.up_proj.weight"] = tensors["model.layers.2.mlp.up_proj.weight"][1:].copy()
    del tensors["lm_head.weight"]
    weight_map = write_shards(tmp_path, tensors)
    weight_map["model.norm.bias"] = "../outside.safetensors"
    weight_map["model.embed_tokens.weight"] = "model-00004-of-00003.safetensors"
    write_index(tmp_path, weight_map)
    message = refusal(tmp_path)
    for said in (
        "extra [2, 3] is left over",
        "is of type I8",
        "model.norm.weight holds 16 values",
        "up_proj.weight has shape [19, 16]",
        "lm_head.weight [24, 16] is missing",
        "the file model-00004-of-00003.safetensors is missing",
        "'../outside.safetensors', which is not a safetensors file of this folder",
    ):
        assert said in message


@pytest.mark.parametrize("shard", ["/etc/passwd", "../x.safetensors", "sub/x.safetensors", "x.bin", 3, None])
def test_an_index_cannot_leave_the_folder(tmp_path, shard):
    _, tensors = make_tensors()
    weight_map = write_shards(tmp_path, tensors)
    write_index(tmp_path, {**weight_map, Q1: shard})
    assert f"puts {Q1} in {shard!r}" in refusal(tmp_path)


def test_a_tensor_in_two_shards(tmp_path):
    _, tensors = make_tensors()
    weight_map = write_shards(tmp_path, tensors)
    other = next(file for file in weight_map.values() if file != weight_map[Q1])
    names = [name for name, file in weight_map.items() if file == other]
    save_file({name: tensors[name] for name in [*names, Q1]}, tmp_path / other)
    assert f"{Q1} is twice there" in refusal(tmp_path)


def test_a_tensor_that_the_index_misplaces(tmp_path):
    _, tensors = make_tensors()
    weight_map = write_shards(tmp_path, tensors)
    other = next(file for file in weight_map.values() if file != weight_map[Q1])
    write_index(tmp_path, {**weight_map, Q1: other})
    message = refusal(tmp_path)
    assert f"{Q1} is not in {other}" in message and f"{Q1} is in {weight_map[Q1]}, but not in" in message


@pytest.mark.parametrize("keep", [5, 100, -10])
def test_a_file_that_is_cut_off(tmp_path, keep):
    _, tensors = make_tensors()
    file = write_checkpoint(tmp_path, tensors) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "the file model.safetensors is cut off or damaged" in refusal(tmp_path)


def test_a_damaged_index(tmp_path):
    _, tensors = make_tensors()
    write_shards(tmp_path, tensors)
    index = tmp_path / "model.safetensors.index.json"
    for text, said in (("{", "cannot be read as JSON"), ("[]", "not an object"), ("{}", "no weight_map")):
        index.write_text(text)
        assert said in refusal(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickles_are_refused_with_the_reason(tmp_path, name):
    (tmp_path / name).write_bytes(b"never opened")
    message = refusal(tmp_path)
    assert name in message and "executes" in message and "save_pretrained" in message


def test_a_folder_without_weights(tmp_path):
    assert "holds no weights" in refusal(tmp_path)


def test_layers_of_different_types_cannot_be_stacked(tmp_path):
    _, tensors = make_tensors()
    tensors[Q1] = tensors[Q1].astype(np.float16)
    write_checkpoint(tmp_path, tensors)
    assert read_folder(tmp_path, CONFIG)["layers"]["1"]["attn"]["W_Q"].dtype == np.float16
    assert "layers/attn/W_Q is F32 and F16 in different layers" in refusal(tmp_path, stacked=True)
