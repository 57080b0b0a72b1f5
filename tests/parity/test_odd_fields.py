"""A field that is there but says nothing (null, false, 0, "", [], {}) is refused, or read as the reference reads it.

The reference asks for some fields' truth, for others' presence: what a gate takes for "not set" may be a setting.
"""

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
from transformers import AutoConfig

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.errors import LandedError
from landed_jax.families import families, wrappers
from landed_jax.forward_pass import forward
from landed_jax.nn.parameters import Params
from tests.parity.cases import ROPE_CASES
from tests.parity.conversion import convert
from tests.parity.torch_model import auto_class, hf_config, tiny_model, torch_logits

PROMPT = (3, 14, 15, 9, 2, 6, 5, 3)
EMPTY: tuple[Any, ...] = (None, False, 0, "", [], {})
# What the reference or its base classes ask for and a saved configuration does not hold.
UNWRITTEN = ("is_causal", "attention_chunk_size", "is_decoder", "add_cross_attention", "is_encoder_decoder", "head_dim",
             "partial_rotary_factor", "original_max_position_embeddings", "layer_types", "sliding_window",
             "quantization_config", "pretraining_tp", "use_bidirectional_attention", "no_rope_layers")  # fmt: skip


# With what says nothing a model has no such tensors, so they are left out of the model that is compared with.
BARE = {"gpt_neox": {"attention_bias": False}, "gpt_oss": {"attention_bias": False}}


@cache
def original(case: str) -> tuple[dict[str, Any], Any, Params]:
    own = case in families() or case in wrappers()
    kind, fields = (case, {"tie_word_embeddings": False, **BARE.get(case, {})}) if own else ROPE_CASES[case]
    model = tiny_model(hf_config(kind, **fields))
    return json.loads(model.config.to_json_string(use_diff=False)), model, convert(model)[1]


def odd_configs(case: str) -> Iterator[tuple[str, dict[str, Any]]]:
    values = original(case)[0]
    yield from odd_objects(values)
    for inner in ("rope_parameters", "text_config"):
        for said, odd in odd_objects(values.get(inner, {})):
            yield f"{inner} {said}", {**values, inner: odd}


def odd_objects(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    # Without them the reference makes its largest model.
    for field in sorted({*values, *(UNWRITTEN if "model_type" in values else ())} - {"text_config", "vision_config"}):
        for empty in EMPTY:
            yield f"{field} = {empty!r}", {**values, field: empty}


jitted = jax.jit(forward, static_argnames=("config", "record"))


@pytest.mark.parametrize("case", [*families(), *wrappers(), "dynamic_longer", "llama3", "yarn_mscale"])
def test_what_says_nothing_is_refused_or_read_as_the_reference_does(case: str) -> None:
    values, model, params = original(case)
    names = {str(place) for place in model.state_dict()}
    compared = 0
    for said, odd in odd_configs(case):
        try:
            ours = config_from_hf(odd)
        except LandedError:
            continue
        given = {name: value for name, value in odd.items() if name != "model_type"}
        try:
            config = AutoConfig.for_model(values["model_type"], **copy.deepcopy(given))
            theirs = auto_class(config.model_type).from_config(config, attn_implementation="eager").eval()
            assert names == set(theirs.state_dict()), said
            theirs.load_state_dict(model.state_dict())
            expected = torch_logits(theirs, [PROMPT]).numpy()
        except AssertionError:
            raise
        except Exception:
            continue  # the reference cannot run it at all, so it is no other number
        logits, _ = jitted(params, np.array([PROMPT]), config=ours, record=())
        assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max(), said
        compared += 1
    assert compared > 30
