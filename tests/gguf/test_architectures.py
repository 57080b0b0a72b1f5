"""Every architecture, from `transformers`' own tensors through the conversion's formulas and back."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.checkpoints.gguf.architectures import ARCHITECTURES
from landed_jax.checkpoints.gguf.header import read_header
from landed_jax.checkpoints.gguf.metadata import config_fields
from landed_jax.checkpoints.gguf.tensors import find_packed
from landed_jax.families import families
from tests.gguf.files import write_gguf
from tests.needs import needs_torch

# By the file's architecture: the model type, and fields of its config.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"rope_theta": 500.0}),
    "llama, wide heads, biases": ("llama", {"head_dim": 12, "attention_bias": True, "mlp_bias": True}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 16, "rope_theta": 1e6}),
    "smollm3": ("smollm3", {"num_hidden_layers": 5, "rope_theta": 2e6}),
    "gemma": ("gemma", {"head_dim": 8}),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 4,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "num_hidden_layers": 6,
            "sliding_window": 4,
            "rope_theta": 1e6,
        },
    ),
    "phi3": ("phi3", {"pad_token_id": None, "sliding_window": 5}),
    "olmo2": ("olmo2", {"rope_theta": 500.0}),
    "gpt2": ("gpt2", {}),
}
GPT2 = {"vocab_size": 23, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "layer_norm_epsilon": 1e-3}
# What no logit depends on, and sizes that one side leaves to be computed.
_SAID_OTHERWISE = {"dtype", "architectures", "pad_token_id", "n_inner", "head_dim"}


def written(tmp_path: Path, name: str) -> tuple[Path, dict[str, np.ndarray], Any]:
    """A tiny model's file, its tensors, and the model."""
    import torch
    from transformers import AutoConfig

    from tests.parity.torch_model import SIZES, tiny_model

    kind, own = CASES[name]
    given = {**(GPT2 if kind == "gpt2" else SIZES), **own}
    if kind == "smollm3":
        given["pad_token_id"] = None
    config = AutoConfig.for_model(kind, **given)
    model = tiny_model(config)
    tensors = {n: t.numpy() for n, t in model.state_dict().items()}
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    if kind.startswith("gemma"):  # so that 1 is added and taken away without rounding
        tensors = {n: np.round(t * 64) / 64 if n.endswith("norm.weight") else t for n, t in tensors.items()}
        model.load_state_dict({n: torch.from_numpy(t) for n, t in tensors.items()}, strict=False)
    file = write_gguf(tmp_path / "model.gguf", {"model_type": kind, **given}, tensors)
    return file, tensors, model


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_tensors_and_config_come_back(tmp_path: Path, name: str) -> None:
    file, tensors, model = written(tmp_path, name)
    header = read_header(file)
    architecture = ARCHITECTURES[name.partition(",")[0]]
    config = model.config
    heads = {"attn_q": config.num_attention_heads, "attn_k": getattr(config, "num_key_value_heads", 0)}
    found = find_packed(header, architecture, heads, None).tensors
    assert found.keys() == tensors.keys()
    for key, tensor in tensors.items():
        index = tuple(slice(None) for _ in tensor.shape)
        np.testing.assert_array_equal(found[key].read(index), tensor, key)
    from transformers import AutoConfig

    fields = config_fields(header)
    again = AutoConfig.for_model(**{"pad_token_id": None, **fields}).to_dict()
    for key, value in config.to_dict().items():
        assert again.get(key) == value or key in _SAID_OTHERWISE, key
    assert not [key for key in fields if "." in key]


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_the_reference(tmp_path: Path, name: str) -> None:
    from tests.parity.torch_model import torch_logits

    file, _, model = written(tmp_path, name)
    prompt = [[1, 5, 7, 2, 9, 11, 3]]
    expected = torch_logits(model, prompt).numpy()
    logits = np.asarray(landed.load(file).trace(prompt, record=()).logits)
    assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max()


def test_every_architectures_family_is_there() -> None:
    assert {architecture.family for architecture in ARCHITECTURES.values()} <= families().keys()
    assert {name.partition(",")[0] for name in CASES} == ARCHITECTURES.keys()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_names_are_those_of_the_package(name: str) -> None:
    architecture = ARCHITECTURES[name]
    number = next(number for number, known in gguf.MODEL_ARCH_NAMES.items() if known == name)
    theirs = gguf.get_tensor_name_map(number, 3)
    held = {gguf.TENSOR_NAMES[tensor] for tensor in gguf.MODEL_TENSORS[number]}
    stems = [*architecture.top, *(f"blk.2.{stem}" for stem in architecture.layer)]
    for stem in stems:
        if stem.replace(".2.", ".{bid}.") in held:
            ours = architecture.hf_name(f"{stem}.weight")
            assert ours is not None and theirs.get_name(ours, try_suffixes=(".weight",)) == f"{stem}.weight"
    assert architecture.hf_name("blk.0.ffn_gate_exps.weight") is None
    assert architecture.hf_name("v.patch_embd.weight") is None
    assert architecture.hf_name("blk.00.attn_norm.weight") is None  # which would be another name of layer 0


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_the_header_is_what_the_package_reads(tmp_path: Path, name: str) -> None:
    from landed_jax.checkpoints.hf.table import to_hf
    from tests.gguf.test_tensors import CONFIG, fields
    from tests.models import random_params

    tensors = dict(to_hf(random_params(CONFIG), CONFIG))
    more = {
        "tokenizer.ggml.tokens": ["a", "é", "日"],
        "tokenizer.ggml.scores": [0.5, 1.0, -2.0],
        "general.alignment": 64,
    }
    kind = gguf.GGMLQuantizationType.Q5_1
    file = write_gguf(tmp_path / "model.gguf", {**fields(), "model_type": name}, tensors, kind, more=more)
    header, theirs = read_header(file), gguf.GGUFReader(file)
    for tensor in theirs.tensors:
        ours = header.tensors[tensor.name]
        assert ours.shape == tuple(int(size) for size in reversed(tensor.shape))
        assert (ours.kind, ours.offset, ours.size) == (tensor.tensor_type.name, tensor.data_offset, tensor.n_bytes)
    read = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert read.keys() == header.fields.keys()
    for key, value in header.fields.items():
        assert np.float32(value) == np.float32(read[key]) if isinstance(value, float) else value == read[key]
