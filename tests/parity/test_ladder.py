"""Parity with `transformers`, rung by rung, so that a failure says where: norm, rotary, attention, MLP, block, logits.

One run of the `transformers` model is listened to at every module; each of ours gets the very input that its
counterpart got.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformers import PreTrainedModel

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.forward_pass import forward
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.modules import MLP, Attention, Block, ReadNorm
from landed_jax.nn.parameters import Params
from landed_jax.nn.rotary import query_scale, rotary_tables
from landed_jax.nn.tap import Context, Plan
from landed_jax.parity.float64 import text_model
from tests.parity.cases import CASES, EACH, ROPE_CASES, RUNG_CASES
from tests.parity.conversion import convert
from tests.parity.prompts import LOGITS_BAR, PROMPTS, REAL, TOKENS, alone, by_length, relative_error
from tests.parity.torch_model import SIZES, hf_config, in_float64, tiny_model, torch_logits

RUNG_BAR = {"float32": 3e-6, "float64": 1e-13}
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])
# What is off by more than rounding is off in float64 too.
both_types_of_a_part = pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])


class Heard(NamedTuple):
    """What went into a module of `transformers` and what came out."""

    given: np.ndarray
    gave: Any


class Run(NamedTuple):
    config: ModelConfig
    params: Params
    logits: np.ndarray
    modules: dict[str, Heard]


def make_torch(case: str, dtype: str) -> PreTrainedModel:
    kind, fields = CASES[case]
    model = tiny_model(hf_config(kind, **fields))
    return in_float64(model) if dtype == "float64" else model


@functools.cache
def run_torch(case: str, dtype: str) -> Run:
    config, params = convert(make_torch(case, "float32"))
    model = make_torch(case, dtype)
    modules: dict[str, Heard] = {}

    def listen(name: str) -> Any:
        def hook(_: Any, args: Any, kwargs: Any, out: Any) -> None:
            given = args[0] if args else kwargs["hidden_states"]
            modules[name] = Heard(given.numpy(), out)

        return hook

    for name, module in text_model(model).named_modules():
        if name:
            module.register_forward_hook(listen(name), with_kwargs=True)
    return Run(config, params, torch_logits(model, PROMPTS).numpy(), modules)


@pytest.fixture
def precision(dtype: str) -> Any:
    with jax.enable_x64(dtype == "float64"):
        yield


def context(config: ModelConfig, dtype: str) -> Context:
    tables = jax.jit(rotary_tables, static_argnums=(0, 2))(config, TOKENS.positions, jnp.dtype(dtype))
    scale = query_scale(config, TOKENS.positions, jnp.dtype(dtype))
    return Context(tables, scale, TOKENS.mask, TOKENS.positions, None)


def assert_close(ours: Any, theirs: Any, bar: float, where: Any = REAL) -> None:
    """Equal to `bar` times the largest value, wherever a real token stands."""
    error = relative_error(ours, theirs, where)
    assert error <= bar, f"off by {error:.2e} of the largest value"


def first(out: Any) -> np.ndarray:
    return (out[0] if isinstance(out, tuple) else out).numpy()


@both_types_of_a_part
@pytest.mark.parametrize("case", ["large_eps", "grouped"])
@pytest.mark.parametrize(
    ("theirs", "site"),
    [("layers.0.input_layernorm", "attn"), ("layers.1.post_attention_layernorm", "mlp"), ("norm", "final")],
)
def test_norm(case: str, theirs: str, site: str, dtype: str, precision: None) -> None:
    run = run_torch(case, dtype)
    heard = run.modules[theirs]
    params = run.params["layers"][theirs.split(".")[1]] if theirs.startswith("layers") else run.params
    norm = ReadNorm(run.config, Plan(), site)
    ours = jax.jit(norm.apply)({"params": params[f"{site}_norm"]}, heard.given, None, context(run.config, dtype))
    assert_close(ours, heard.gave, RUNG_BAR[dtype])


@both_types_of_a_part
@pytest.mark.parametrize("case", ["grouped", *ROPE_CASES])
def test_rotary(case: str, dtype: str, precision: None) -> None:
    run = run_torch(case, dtype)
    ((cos, sin),) = context(run.config, dtype).rotary
    # In a batch, transformers scales every row by the longest prompt's length; here that is row 0's.
    where = REAL & (np.arange(len(PROMPTS)) == 0)[:, None] if by_length(run.config) else REAL
    for ours, theirs in zip((cos, sin), run.modules["rotary_emb"].gave, strict=True):
        assert_close(jnp.concatenate([ours, ours], axis=-1), theirs, RUNG_BAR[dtype], where)


@both_types_of_a_part
@pytest.mark.parametrize("case", RUNG_CASES)
@pytest.mark.parametrize(
    ("theirs", "part"), [("self_attn", Attention), ("mlp", MLP), ("", Block)], ids=["attention", "mlp", "block"]
)
def test_attention_mlp_block(case: str, theirs: str, part: Any, dtype: str, precision: None) -> None:
    run = run_torch(case, dtype)
    heard = run.modules[f"layers.1.{theirs}".rstrip(".")]
    params = run.params["layers"]["1"]
    params = {"self_attn": params["attn"], "mlp": params["mlp"]}.get(theirs, params)
    kind = () if part is MLP else (run.config.kinds[1],)
    apply = jax.jit(part(run.config, Plan(), *kind).apply)
    ours = apply({"params": params}, heard.given, jnp.int32(1), context(run.config, dtype))
    assert_close(ours if part is Block else ours[0], first(heard.gave), RUNG_BAR[dtype])


@pytest.mark.quick
@both_types
@pytest.mark.parametrize("case", EACH)
def test_logits(case: str, dtype: str, precision: None) -> None:
    run = run_torch(case, dtype)
    logits = jax.jit(lambda params, tokens: forward(params, tokens, run.config, record=())[0])(run.params, TOKENS)
    theirs = run.logits
    if by_length(run.config):
        theirs = alone(make_torch(case, dtype))
    assert_close(logits, theirs, LOGITS_BAR[dtype])


@pytest.mark.parametrize("case", ["rope_theta_old_spelling", "linear_old_spelling", "dynamic_old_spelling"])
def test_both_spellings_of_rope_read_the_same(case: str) -> None:
    kind, fields = CASES[case]
    old = {"model_type": kind, **SIZES, **fields}
    new = hf_config(kind, **fields).to_dict()
    assert "rope_scaling" not in new and config_from_hf(old) == config_from_hf(new)
