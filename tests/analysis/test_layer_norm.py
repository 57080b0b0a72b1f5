"""LayerNorm in every analysis: a mean that nothing hears, a bias that no write makes; and a model without norms."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import NORMED, RESIDUALS, SOURCES, WRITES, HookPoint, Trace, Write
from landed_jax.nn.config import ModelConfig
from tests.models import LAYER_NORM, PARALLEL, random_params
from tests.traces import numbers, traced

RECORD = WRITES | RESIDUALS | NORMED | SOURCES
each_model = pytest.mark.parametrize(
    "config", [LAYER_NORM, pytest.param(PARALLEL, marks=pytest.mark.slow)], ids=["layer_norm", "parallel"]
)


def shifted(params: dict, by: float) -> dict:
    """The same parameters with a constant added to all coordinates of everything that is written."""
    axes = {"W_E": 1, "W_pos": 1, "W_O": 0, "W_down": 0, "b_O": 0, "b_down": 0}

    def shift(path: Any, leaf: jax.Array) -> jax.Array:
        axis = axes.get(path[-1].key)
        if axis is None:
            return leaf
        size = np.random.default_rng(leaf.size).normal(size=[n for i, n in enumerate(leaf.shape) if i != axis])
        return leaf + by * jnp.expand_dims(jnp.asarray(size, leaf.dtype), axis)

    return jax.tree_util.tree_map_with_path(shift, params)


OF_ONE_TOKEN = ("attribute_log_probability", "confidence_effects")
ANALYSES = {
    name: analysis
    for name, analysis in landed.analyses().items()
    # Of the stream itself, and of vectors as they are written.
    if name not in ("residual_growth", "write_vector", "closure_error")
}


@pytest.mark.parametrize("name", ANALYSES)
@each_model
def test_nothing_depends_on_the_mean_of_what_is_written(name: str, config: ModelConfig, x64: None) -> None:
    # Untied: what reads is to stay.
    config = dataclasses.replace(config, tie_embeddings=False)
    plain = random_params(config, dtype=jnp.float64)
    analysis = ANALYSES[name]

    def run(params: dict) -> list[np.ndarray]:
        trace = traced(config, RECORD, params)
        asked = (landed.Logit(4, against=1),) if analysis.asks and name not in OF_ONE_TOKEN else ()
        found = analysis.function(trace, *asked, **analysis.example(trace))
        return [np.asarray(leaf) for leaf in numbers(found)]

    for mine, theirs in zip(run(plain), run(shifted(plain, 2.0)), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-8, atol=1e-10)


def test_the_stream_itself_has_its_mean() -> None:
    plain = random_params(PARALLEL)
    growth = [landed.scale.residual_growth(traced(PARALLEL, RECORD, params)) for params in (plain, shifted(plain, 2.0))]
    assert float(growth[1].rms.min()) > float(growth[0].rms.min())
    vectors = [
        landed.writes.write_vector(traced(PARALLEL, RECORD, params), Write("head", 0, 1))
        for params in (plain, shifted(plain, 2.0))
    ]
    assert abs(float(vectors[1].mean())) > abs(float(vectors[0].mean()))


@each_model
def test_every_read_is_its_writes_and_its_offset(config: ModelConfig, x64: None) -> None:
    trace = traced(config, RECORD, random_params(config, dtype=jnp.float64))
    beta = np.asarray(trace.beta)
    vector = np.random.default_rng(0).normal(size=config.d_model)
    mlp = trace.weights()["layers"]["1"]["mlp"]
    row, bias = np.asarray(mlp["W_in"][5]), np.asarray(mlp["b_in"][5])
    sites = trace.order.sites
    cases = {
        "vector": (landed.Vector(jnp.asarray(vector), site="1.attn"), beta[2] @ vector),
        "neuron": (landed.Neuron(1, 5, "gate"), beta[sites.index("1.mlp")] @ row + bias),
        "head": (landed.Head(1, 1, "value", jnp.ones(config.head_dim)), None),
        "logit": (landed.Logit(3), None),
    }
    for question, offset in cases.values():
        read, shares = landed.resolve(trace, question), landed.attribute(trace, question)
        np.testing.assert_allclose(shares.landed.total() + read.offset, read.value, atol=1e-12)
        assert float(jnp.abs(read.offset).max()) > 1e-3
        if offset is not None:
            np.testing.assert_allclose(read.offset, np.full((1, 1), offset), atol=1e-12)
    gate = landed.forward(trace.weights(), trace.tokens, config, record={HookPoint.GATE})[1][HookPoint.GATE]
    np.testing.assert_allclose(landed.resolve(trace, cases["neuron"][0]).value, gate[1, ..., 5], atol=1e-12)
    with pytest.raises(landed.LandedError, match="no up weights"):
        landed.attribute(trace, landed.Neuron(1, 5, "up"))


def without_norms(config: ModelConfig, dtype: str) -> Trace:
    """A model whose ε is so large that σ is the same everywhere, its gains as large (arXiv:2507.02559)."""
    config = dataclasses.replace(config, norm_eps=1e12)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * 1e6 if path[-1].key == "gamma" else leaf,
        random_params(config, dtype=jnp.dtype(dtype)),
    )
    return traced(config, RECORD, params)


@each_model
def test_without_norms_a_landed_contribution_is_a_direct_effect(config: ModelConfig, x64: None) -> None:
    trace = without_norms(config, "float64")
    np.testing.assert_allclose(trace.sigma, 1e6, rtol=1e-9)
    shares = landed.attribute(trace, landed.Logit(4, against=1))
    assert shares.direct_effect is not None and float(jnp.abs(shares.landed.heads).max()) > 1e-2
    for mine, theirs in zip(jax.tree.leaves(shares.landed), jax.tree.leaves(shares.direct_effect), strict=True):
        np.testing.assert_allclose(theirs, mine, atol=1e-9)
    agreement = landed.attribution.frozen_sigma_agreement(trace, landed.Logit(4, against=1)).pooled()
    assert float(agreement.together.nmae) < 1e-9 and float(agreement.together.correlation) > 1 - 1e-9
    assert float(landed.closure_error(trace).error.max()) < 1e-11


def test_without_norms_float32_closes() -> None:
    trace = without_norms(LAYER_NORM, "float32")
    shares = landed.attribute(trace, 4)
    assert shares.direct_effect is not None and float(shares.closure_error.max()) < 1e-5
    np.testing.assert_allclose(shares.direct_effect.heads, shares.landed.heads, atol=1e-6)
