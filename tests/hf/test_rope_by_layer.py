"""Rotary settings by kind of layer, and of a part of each head: each spelling, as the reference's classes take it."""

from typing import Any

import pytest

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.rope_gate import read_rope
from landed_jax.checkpoints.notes import Notes
from landed_jax.families import Family
from landed_jax.nn.rope_config import RopeConfig
from tests.needs import NO_TORCH


def family(held: str, **defaults: Any) -> Family:
    return Family("any", "AnyForCausalLM", lambda *_: {}, lambda _: {}, frozenset({held}), defaults)


# As Gemma 3 has it, with a base of its own for windows, and as OLMo 3 has it.
TWO_BASES = family("local_rope", rope_theta=1_000_000.0, rope_local_base_freq=10_000.0)
ONE_BASE = family("local_rope")
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "attention_factor": 1.2}
LINEAR = {"rope_type": "linear", "factor": 8.0}
CASES: dict[str, tuple[Family, dict[str, Any], RopeConfig, RopeConfig]] = {
    "two bases": (TWO_BASES, {}, RopeConfig(theta=1e6), RopeConfig()),
    "two bases, given": (
        TWO_BASES,
        {"rope_theta": 5e5, "rope_local_base_freq": 3.0, "rope_scaling": LINEAR},
        RopeConfig("linear", 5e5, 8.0),
        RopeConfig(theta=3.0),
    ),
    # A base at the top is that of full attention alone, as in the reference: windows keep the class's own.
    "one base": (ONE_BASE, {"rope_theta": 5e5}, RopeConfig(theta=5e5), RopeConfig()),
    "scaled where attention is full": (
        ONE_BASE,
        {"rope_theta": 5e5, "rope_scaling": YARN},
        RopeConfig("yarn", 5e5, 8.0, 16, attention_factor=1.2),
        RopeConfig(),
    ),
    "by kind": (
        TWO_BASES,
        {"rope_parameters": {"full_attention": {**YARN, "rope_theta": 7.0}, "sliding_attention": LINEAR}},
        RopeConfig("yarn", 7.0, 8.0, 16, attention_factor=1.2),
        RopeConfig("linear", 1e4, 8.0),
    ),
    "one kind": (
        TWO_BASES,
        {"rope_theta": 5.0, "rope_parameters": {"full_attention": None, "sliding_attention": LINEAR}},
        RopeConfig(theta=5.0),
        RopeConfig("linear", 1e4, 8.0),
    ),
}


def read(kind: Family, values: dict[str, Any], head_dim: int = 8) -> tuple[dict[str, Any], list[str]]:
    problems: list[str] = []
    return read_rope(Fields(values, problems), kind, head_dim, 64, Notes()), problems


@pytest.mark.parametrize("case", CASES)
def test_each_spelling_says_both(case: str) -> None:
    kind, values, full, local = CASES[case]
    assert read(kind, values) == ({"rope": full, "local_rope": local}, [])


@pytest.mark.parametrize("case", CASES)
def test_the_reference_takes_them_so(case: str) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    from transformers import Gemma3TextConfig, Olmo3Config

    kind, values, full, local = CASES[case]
    reference = Gemma3TextConfig if kind is TWO_BASES else Olmo3Config
    saved = reference(**values, max_position_embeddings=64).to_dict()["rope_parameters"]
    assert read(kind, {"rope_parameters": saved}) == ({"rope": full, "local_rope": local}, [])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "rope_type is there for all layers"),
        ({"rope_parameters": {"full_attention": [1]}}, "full_attention is not an object"),
        ({"rope_parameters": {"chunked_attention": {}}}, "chunked_attention is there for all layers"),
        ({"original_max_position_embeddings": 9}, "the reference reads it for each kind of layer"),
        ({"rope_scaling": {"rope_type": "linear"}}, "rope_scaling.factor = None"),
        (
            {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": -1}}},
            "rope_parameters.sliding_attention.factor = -1",
        ),
        ({"rope_local_base_freq": 0}, "rope_local_base_freq = 0"),
    ],
    ids=str,
)
def test_what_is_refused(values: dict[str, Any], said: str) -> None:
    problems = read(TWO_BASES, values)[1]
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("part", "dim"),
    [(None, 96), (1, 128), (0.25, 32), (0.3, 38), (0.0, None), (1.5, None), ("0.5", None), (True, None), (0.01, None)],
)
def test_a_part_of_each_head(part: Any, dim: int | None) -> None:
    partly = family("rotary_dim", partial_rotary_factor=0.75)
    found, problems = read(partly, {} if part is None else {"partial_rotary_factor": part}, 128)
    assert (found.get("rotary_dim"), len(problems)) == (dim, dim is None)
    if part is not None:
        inside = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": part}}
        assert read(partly, inside, 128)[0].get("rotary_dim") == dim


@pytest.mark.parametrize(
    "values", [{"rope_theta": 500}, {"rope_theta": 500, "rope_scaling": {**YARN, "factor": 2.0}}, {}]
)
@pytest.mark.parametrize("kind", ["olmo3", "gemma3_text"])
def test_as_the_references_class_reads_it(kind: str, values: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "num_hidden_layers": 6,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    written = transformers.AutoConfig.for_model(kind, **sizes, **values).to_dict()
    assert config_from_hf({"model_type": kind, **sizes, **values}) == config_from_hf(written)
