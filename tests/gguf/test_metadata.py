"""Metadata becomes the fields of config.json and passes its gate; what is not honoured is refused, by name."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.checkpoints.gguf.header import read_header
from landed_jax.checkpoints.gguf.metadata import config_fields, config_of
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.errors import LandedError, Refusal
from landed_jax.loading import check, read_config
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import CONFIG, hf_config, make_tensors
from tests.gguf.files import write_gguf
from tests.models import random_params

FIELDS = {**hf_config(CONFIG), "rms_norm_eps": 1e-5, "rope_theta": 500_000.0}


def file_with(tmp_path: Path, more: dict[str, Any] | None = None, *, arch: str = "llama", **how: Any) -> Path:
    extra = how.pop("tensors", {})
    fields = {**FIELDS, "model_type": arch, **how.pop("config", {})}
    return write_gguf(tmp_path / "m.gguf", fields, make_tensors()[1] | extra, more=more, **how)


def fields_with(tmp_path: Path, more: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    return config_fields(read_header(file_with(tmp_path, more, **how)))


@pytest.mark.quick
def test_the_config_is_the_checkpoints(tmp_path: Path) -> None:
    config, dtype = read_config(file_with(tmp_path))
    assert dtype == "float32"
    assert (config.d_model, config.n_layers, config.head_dim) == (CONFIG.d_model, CONFIG.n_layers, CONFIG.head_dim)
    # 32 bits in the file, and the decimal that was meant here.
    assert (config.norm_eps, config.rope.theta, config.tie_embeddings) == (1e-5, 500_000.0, False)


def test_what_the_format_leaves_out(tmp_path: Path) -> None:
    """llama.cpp's defaults, which are not those of every configuration class."""
    full = ModelConfig(vocab_size=9, d_model=8, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=4, d_ff=6)
    tensors = dict(to_hf(random_params(full), full))
    left_out = ("attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count")
    drop = tuple(f"smollm3.{name}" for name in left_out)
    values = {**hf_config(full), "rms_norm_eps": 1e-6, "model_type": "smollm3"}
    fields = config_fields(read_header(write_gguf(tmp_path / "m.gguf", values, tensors, drop=drop)))
    assert (fields["num_key_value_heads"], fields["head_dim"], fields["rope_theta"]) == (2, 4, 10_000.0)


def llama3_divisors(factor: float, theta: float, head_dim: int) -> np.ndarray:
    """As the conversion writes them."""
    found = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (i / head_dim)
        if wavelength < 8192 / 4:
            found.append(1.0)
        elif wavelength > 8192:
            found.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / 3
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3s_rotary_scaling_is_recognised(tmp_path: Path, factor: float) -> None:
    config = ModelConfig(
        vocab_size=9, d_model=8, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=128, d_ff=6, max_positions=131072
    )
    divisors = llama3_divisors(factor, 500_000.0, 128)
    assert 1 < len(set(divisors.tolist())) < 64
    values = {**hf_config(config), "rms_norm_eps": 1e-6, "rope_theta": 500_000.0}
    tensors = {**to_hf(random_params(config), config), "rope_freqs.weight": divisors}
    rope = read_config(write_gguf(tmp_path / "m.gguf", values, tensors))[0].rope
    assert (rope.kind, rope.factor, rope.original_max_positions) == ("llama3", factor, 8192)
    assert landed.load(tmp_path / "m.gguf").config.rope == rope
    divisors[40] *= 1.01
    with pytest.raises(LandedError, match=r"rope_freqs\.weight, which is not that of Llama 3's scaling"):
        read_config(write_gguf(tmp_path / "other.gguf", values, {**tensors, "rope_freqs.weight": divisors}))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"llama.rope.scaling.type": "none"}, None),
        ({"llama.rope.scaling.factor": 1.0, "llama.rope.scaling.original_context_length": 64}, None),
        ({"llama.rope.scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.5},
            {"rope_type": "linear", "factor": 2.5},
        ),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 32,
                "llama.rope.scaling.finetuned": True,
            },
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        ),
    ],
)
def test_rotary_scaling(tmp_path: Path, more: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert fields_with(tmp_path, more).get("rope_scaling") == expected
    kind = "default" if expected is None else expected["rope_type"]
    assert config_of(read_header(tmp_path / "m.gguf")).rope.kind == kind


def test_phi3s_two_tables(tmp_path: Path) -> None:
    tables = {f"rope_factors_{which}.weight": np.array([1, 1.5, 2.3], np.float32) for which in ("short", "long")}
    more = {"phi3.rope.scaling.attn_factor": 1.19, "phi3.rope.scaling.original_context_length": 32}
    fields = fields_with(tmp_path, more, arch="phi3", tensors=tables, config={"sliding_window": 0})
    factors = [1.0, 1.5, 2.3]
    assert fields["rope_scaling"] == {
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "attention_factor": 1.19,
    }
    assert (fields["original_max_position_embeddings"], fields["sliding_window"]) == (32, None)
    assert "partial_rotary_factor" not in fields


def test_phi4_rotates_part_of_each_head(tmp_path: Path) -> None:
    fields = fields_with(tmp_path, {"phi3.rope.dimension_count": 4}, arch="phi3")
    assert fields["partial_rotary_factor"] == 4 / CONFIG.head_dim


@pytest.mark.parametrize(("arch", "layers", "scalar"), [("gemma2", 46, 4), ("gemma2", 3, 6), ("gemma3_text", 62, 4)])
def test_gemmas_largest_models_scale_queries_otherwise(tmp_path: Path, arch: str, layers: int, scalar: int) -> None:
    assert CONFIG.d_model // CONFIG.n_heads == 4 and CONFIG.head_dim == 6
    fields = fields_with(tmp_path, arch=arch, config={"num_hidden_layers": layers})
    assert fields["query_pre_attn_scalar"] == scalar


@pytest.mark.parametrize(
    ("more", "how", "said"),
    [
        ({"llama.attention.scale": 0.5}, {}, r"llama\.attention\.scale = 0\.5 \(an unknown field"),
        ({"llama.rope.dimension_count": 4}, {}, r"llama\.rope\.dimension_count = 4 \(an unknown field"),
        ({"llama.expert_count": 8}, {}, r"llama\.expert_count = 8 \(an unknown field"),
        ({"llama.rope.scaling.type": "su"}, {}, r"rope_scaling\.rope_type = 'su' \(not one of"),
        ({"llama.attention.sliding_window": 7}, {}, "the reference Llama has no sliding window"),
        ({"llama.feed_forward_length": [20, 20, 30]}, {}, r"intermediate_size = \[20, 20, 30\]"),
        ({"llama.attention.head_count": 3}, {}, r"num_attention_heads|n_heads"),
        ({"llama.embedding_length": 2**31}, {}, r"hidden_size = 2147483648 \(not below 2\*\*31"),
        ({"llama.block_count": 3000}, {}, "the config has 3000 layers, and the files hold"),
        ({"llama.attention.layer_norm_rms_epsilon": math.nan}, {}, "rms_norm_eps = nan"),
        ({}, {"drop": ("llama.block_count",)}, r"is no whole model: it has no llama\.block_count"),
        ({"general.type": "adapter"}, {}, "is no model: its general.type is 'adapter'"),
        ({"split.count": 3}, {}, "is one of 3 parts of a model: join them with"),
    ],
)
def test_refused(tmp_path: Path, more: dict[str, Any], how: dict[str, Any], said: str) -> None:
    drop = (*how.get("drop", ()),)
    with pytest.raises(LandedError, match=said):
        check(file_with(tmp_path, more, drop=drop))


def test_zeros_that_dense_models_have_and_lists_of_one_value(tmp_path: Path) -> None:
    more = {"llama.expert_count": 0, "llama.expert_used_count": 0, "llama.feed_forward_length": [20, 20, 20]}
    assert config_of(read_header(file_with(tmp_path, more))).d_ff == 20


def test_a_field_is_ignored_on_request(tmp_path: Path) -> None:
    file = file_with(tmp_path, {"llama.new": 3})
    with pytest.raises(Refusal, match=r"The metadata of .* is not honoured in full"):
        landed.load(file)
    model = landed.load(file, ignore_fields=["llama.new"])
    assert model.notes == ("config.json: llama.new = 3 was ignored on request",)


def test_an_architecture_that_is_not_read(tmp_path: Path) -> None:
    file = file_with(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"llama", b"mamba"))
    with pytest.raises(LandedError, match=r"The architecture in .* is 'mamba': these can be read: llama, qwen2"):
        landed.load(file)


def test_tensors_that_do_not_fit(tmp_path: Path) -> None:
    tensors = {"blk.0.ffn_gate_inp.weight": np.ones((4, 16), np.float32)}
    with pytest.raises(LandedError, match=r"blk\.0\.ffn_gate_inp\.weight \[4, 16\] is left over"):
        landed.load(file_with(tmp_path, tensors=tensors))
    other = {"model.layers.1.mlp.up_proj.weight": np.ones((4, 16), np.float32)}
    with pytest.raises(LandedError, match=r"blk\.1\.ffn_up\.weight has shape \[4, 16\], not \[20, 16\]"):
        landed.load(write_gguf(tmp_path / "n.gguf", FIELDS, make_tensors()[1] | other))
