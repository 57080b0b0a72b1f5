"""`landed info` says every switch that is on: no field of `ModelConfig` is without words, and no change goes unsaid."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.rope_config import RopeConfig
from landed_jax.report.facts import model_facts
from landed_jax.report.switches import SWITCHES, switch_facts, switch_words
from tests.models import CONFIGS, SMALL, configs

# Sizes and the like, which every model has: `model_facts` says them.
SIZES: dict[str, Any] = {
    "vocab_size": 14,
    "d_model": 24,
    "n_layers": 3,
    "n_heads": 6,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 11,
    "family": "mistral",
    "activation": "gelu",
    "norm_eps": 0.5,
    "max_positions": 77,
    "tie_embeddings": True,
}
# A value of each switch that is another than that of `BASE`.
BASE = dataclasses.replace(SMALL, sliding_window=3, rope=RopeConfig(original_max_positions=16))
OTHERS: dict[str, Any] = {
    "norm": "layer",
    "gain_offset": 1.0,
    "parallel_blocks": True,
    "gated_mlp": False,
    "learned_positions": True,
    "rope": RopeConfig(theta=7.0, original_max_positions=16),
    "local_rope": RopeConfig(theta=7.0),
    "rotary_dim": 2,
    "query_growth": 0.5,
    "sliding_window": 4,
    "windowed_layers": (True, False),
    "rotary_layers": (True, False),
    "embedding_scale": 2.5,
    "rounded_embedding_scale": True,
    "qkv_bias": True,
    "output_bias": True,
    "mlp_bias": True,
    "sinks": True,
    "n_experts": 8,
    "experts_per_token": 3,
    "router_bias": True,
    "router_normalised": False,
    "qk_norm": "width",
    "input_norms": False,
    "output_norms": True,
    "residual_scale": 0.5,
    "attention_scale": 0.3,
    "attention_cap": 7.0,
    "logit_scale": 0.5,
    "logit_cap": 7.0,
    "bfloat16_products": True,
}


def said(config: ModelConfig) -> list[tuple[str, str]]:
    return [*model_facts(config, None), *switch_facts(config)]


def test_every_field_has_words() -> None:
    fields = {field.name for field in dataclasses.fields(ModelConfig)}
    worded = [field for switch in SWITCHES for field in switch.fields]
    assert len(worded) == len(set(worded))
    assert set(worded) | set(SIZES) == fields and set(worded) == set(OTHERS)
    assert all(words for switch in SWITCHES for words in switch.fields.values())
    assert switch_words(worded).count(", ") == len(worded) - 1


@pytest.mark.parametrize("field", [*SIZES, *OTHERS])
def test_a_change_is_said(field: str) -> None:
    base = BASE
    if field == "input_norms":  # a model without them has norms behind its blocks
        base = dataclasses.replace(base, output_norms=True)
    if "expert" in field or "router" in field:
        base = dataclasses.replace(base, n_experts=4, experts_per_token=2)
    changed = dataclasses.replace(base, **{field: {**SIZES, **OTHERS}[field]})
    assert changed != base and said(changed) != said(base)


@given(configs(), configs())
def test_models_that_differ_in_a_switch_are_described_differently(one: ModelConfig, other: ModelConfig) -> None:
    # Two models of one size: what differs are switches alone.
    alike = dataclasses.replace(other, **{name: getattr(one, name) for name in SIZES if name in ("d_model", "d_ff")})
    if switch_facts(one) == switch_facts(alike):
        for field in ("norm", "qk_norm", "attention_cap", "logit_cap", "residual_scale", "input_norms", "output_norms"):
            assert getattr(one, field) == getattr(alike, field)


def test_of_plain_llama_the_rotary_embedding_alone_is_said() -> None:
    assert switch_facts(SMALL) == [("rotary embedding", "theta 10000")]


def test_layers_that_differ_are_counted_and_named() -> None:
    config = dataclasses.replace(
        SMALL,
        n_layers=12,
        sliding_window=5,
        windowed_layers=tuple(layer % 6 != 5 for layer in range(12)),
        rope=RopeConfig("linear", theta=1e6, factor=8.0),
        local_rope=RopeConfig(theta=100.0),
    )
    assert dict(switch_facts(config)) == {
        "sliding window": "5 positions in 10 of 12 layers (0–4, 6–10)",
        "rotary embedding": (
            "theta 100 in 10 of 12 layers (0–4, 6–10); theta 1e+06, linear scaling by 8 in 2 of 12 layers (5, 11)"
        ),
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_no_switch_is_said_twice(name: str) -> None:
    names = [name for name, _ in said(CONFIGS[name])]
    assert len(names) == len(set(names))
