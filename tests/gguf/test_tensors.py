"""Tensors: every type is dequantised, rows are put back, and the values are those of the checkpoint, bit for bit."""

from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import given
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax.checkpoints.gguf.architectures import ARCHITECTURES
from landed_jax.checkpoints.gguf.header import read_header
from landed_jax.checkpoints.gguf.tensors import dequantised, find_packed
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.errors import LandedError
from landed_jax.loading import read_config
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import assert_same, hf_config, write_checkpoint
from tests.gguf.blocks import DEFINITIONS
from tests.gguf.files import converted, interleaved, packed, random_blocks, write_gguf
from tests.models import random_params

KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
CONFIG = ModelConfig(
    vocab_size=23,
    d_model=256,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=64,
    d_ff=256,
    max_positions=64,
    tie_embeddings=True,
)


def fields(config: ModelConfig = CONFIG) -> dict:
    return {**hf_config(config), "rms_norm_eps": config.norm_eps}


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return dict(to_hf(random_params(CONFIG), CONFIG))


def read_back(name: str, tensor: np.ndarray, kind: Kind) -> np.ndarray:
    """What a quantised tensor holds, in the checkpoint's order."""
    stored = converted(name, tensor, fields())
    values = gguf.dequantize(packed(stored, kind), kind)
    if "q_proj" in name or "k_proj" in name:
        heads = CONFIG.n_heads if "q_proj" in name else CONFIG.n_kv_heads
        places = interleaved(np.arange(len(values)), heads)
        restored = np.empty_like(values)
        restored[places] = values
        return restored
    return values


@pytest.mark.quick
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_the_folder_of_its_own_values(tmp_path: Path, kind: str, tensors: dict[str, np.ndarray]) -> None:
    number = Kind[kind]
    file = write_gguf(tmp_path / "model.gguf", fields(), tensors, number)
    model = landed.load(file)
    values = {name: read_back(name, t, number) if t.ndim > 1 else t for name, t in tensors.items()}
    if kind in ("F16", "BF16"):  # floats stay as they are
        own = {"F16": np.float16, "BF16": jnp.bfloat16}[kind]
        values = {name: value.astype(own) if value.ndim > 1 else value for name, value in values.items()}
    folder = landed.load(write_checkpoint(tmp_path / "hf", values, CONFIG))
    assert model.config == folder.config
    assert_same(model.params, folder.params)
    assert read_config(file)[1] == {"F16": "float16", "BF16": "bfloat16"}.get(kind, "float32")


@pytest.mark.parametrize("kind", sorted(DEFINITIONS))
def test_blocks_are_what_the_format_defines(kind: str) -> None:
    number = Kind[kind]
    in_block, size = gguf.GGML_QUANT_SIZES[number]
    weights = np.random.default_rng(1).normal(size=(3, 256)).astype(np.float32)
    raw = packed(weights, number) if in_block == 32 else random_blocks((3, 1024), number)
    blocks = raw.reshape(-1, size)
    expected = np.concatenate([DEFINITIONS[kind](block.tobytes()) for block in blocks])
    np.testing.assert_array_equal(dequantised(raw.tobytes(), kind), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_chosen_type(tmp_path: Path, dtype: str, tensors: dict[str, np.ndarray]) -> None:
    file = write_gguf(tmp_path / "model.gguf", fields(), tensors, Kind.Q8_0)
    whole, cast = landed.load(file), landed.load(file, dtype=dtype)
    for left, right in zip(jax.tree.leaves(whole.params), jax.tree.leaves(cast.params), strict=True):
        assert right.dtype == dtype
        np.testing.assert_array_equal(np.asarray(left).astype(dtype), np.asarray(right))


def test_another_type_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    file = write_gguf(tmp_path / "model.gguf", fields(), tensors)
    with pytest.raises(LandedError, match="dtype is 'int8': the weights of a GGUF file become float32 or"):
        landed.load(file, dtype="int8")
    with pytest.raises(LandedError, match="A dtype is chosen for the weights of a GGUF file alone"):
        landed.load("bundled", dtype="bfloat16")


@given(data=st.data())
def test_slices(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any slice is that of the whole, whatever reading has to undo, and however few rows are read at a time."""
    change = data.draw(st.sampled_from(["llama", "qwen2", "gpt2"]))
    heads, size, width = data.draw(st.integers(1, 3)), 2 * data.draw(st.integers(1, 4)), 32
    weight = np.random.default_rng(0).normal(size=(heads * size, width)).astype(np.float32)
    name = {"gpt2": "blk.0.ffn_up.weight"}.get(change, "blk.0.attn_q.weight")
    stored = interleaved(weight, heads) if change == "llama" else weight
    path = tmp_path_factory.mktemp("slices") / "one.gguf"
    writer = gguf.GGUFWriter(path, change)
    writer.add_tensor(name, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = find_packed(read_header(path), ARCHITECTURES[change], {"attn_q": heads}, None)
    (tensor,) = found.tensors.values()
    whole = weight.T if change == "gpt2" else weight
    index = tuple(
        slice(*sorted(data.draw(st.tuples(st.integers(0, length), st.integers(0, length))))) for length in whole.shape
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("landed_jax.checkpoints.gguf.tensors._PIECE", data.draw(st.integers(1, 200)))
        np.testing.assert_array_equal(tensor.read(index), whole[index])
        np.testing.assert_array_equal(tensor.read(index[:1]), whole[index[0]])


def test_sharded_and_stacked(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    file = write_gguf(tmp_path / "model.gguf", fields(), tensors, Kind.Q4_0)
    plain = landed.load(file)
    mesh = jax.make_mesh((2,), ("model",), devices=jax.devices()[:2])
    assert_same(landed.load(file, mesh=mesh).params, plain.params)
    assert landed.load(file, stacked=True).params["layers"]["attn"]["W_Q"].shape[0] == CONFIG.n_layers


def test_values_that_are_not_finite(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    broken = {name: t.copy() for name, t in tensors.items()}
    broken["model.layers.1.mlp.up_proj.weight"][3, 4] = np.inf
    file = write_gguf(tmp_path / "model.gguf", fields(), broken)
    with pytest.raises(LandedError, match=r"blk\.1\.ffn_up\.weight holds 1 values that are not finite"):
        landed.load(file)


def test_a_type_that_cannot_be_dequantised(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    file = write_gguf(tmp_path / "model.gguf", fields(), tensors, Kind.Q8_0)
    data = bytearray(file.read_bytes())
    name = b"blk.0.ffn_up.weight"
    at = data.index(name) + len(name) + 4 + 16
    assert data[at] == Kind.Q8_0
    data[at] = Kind.I8
    file.write_bytes(data)
    with pytest.raises(LandedError, match=r"blk\.0\.ffn_up\.weight is of type I8, not one of"):
        landed.load(file)


def test_an_adapter_is_merged_into_dequantised_weights(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    random = np.random.default_rng(3)
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    pair = {
        f"{module}.lora_A.weight": random.normal(size=(2, 256)).astype(np.float32),
        f"{module}.lora_B.weight": random.normal(size=(256, 2)).astype(np.float32),
    }
    adapter = tmp_path / "lora"
    adapter.mkdir()
    save_file(pair, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2}')
    file = write_gguf(tmp_path / "model.gguf", fields(), tensors)
    folder = write_checkpoint(tmp_path / "hf", tensors, CONFIG)
    assert_same(landed.load(file, adapter=adapter).params, landed.load(folder, adapter=adapter).params)
