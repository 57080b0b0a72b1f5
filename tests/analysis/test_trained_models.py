"""The exact statements on trained models, where writes have the sizes that training gives them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, SOURCES, WRITES
from landed_jax.analysis.writes._write import Write
from landed_jax.nn.parameters import stack_layers, unembedding
from tests.reference.landed import every_write
from tests.reference.numpy_model import numpy_forward

# The second was trained by another program, and its embedding is tied; it is absent from a clone alone.
MODELS = ("bundled", "stories")
PROMPTS = {"stories": "Once upon a time, there was a little", "bundled": "The keys near the bottle"}


@pytest.fixture
def source(name: str, request: pytest.FixtureRequest) -> str:
    """What opens the model of this name."""
    return str(request.getfixturevalue("stories")) if name == "stories" else name


def model(name: str, source: str, dtype: jnp.dtype) -> landed.Model:
    opened = landed.load(source)
    params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, dtype)), opened.params)
    return landed.Model(opened.config, params, opened.vocabulary, name)


def check(name: str, source: str, dtype: jnp.dtype, bar: float, stacked: bool) -> None:
    opened = model(name, source, dtype)
    config = opened.config
    if stacked:
        opened = landed.Model(config, stack_layers(opened.params), opened.vocabulary, name)
    trace = opened.trace(PROMPTS[name], record=WRITES | RESIDUALS | SOURCES)
    vector = jnp.asarray(np.random.default_rng(0).standard_normal(config.d_model), dtype)
    matrix = landed.landing.landing_matrix(trace, vector)
    assert matrix.value is not None and matrix.closure_error is not None
    size = np.abs(matrix.value).max(axis=-1, keepdims=True)
    assert (np.asarray(matrix.closure_error) <= bar * size).all()
    shares = jax.device_get(landed.attribution.sigma_shares(trace).shares)
    whole = shares.embedding + shares.heads.sum((1, 4)) + shares.neurons.sum((1, 4))
    np.testing.assert_allclose(whole, 1 - config.norm_eps / np.square(trace.sigma), atol=bar)
    logit = landed.attribute(trace, effects=False)
    bar_here = bar * np.abs(logit.value).max()
    assert float(logit.closure_error.max()) <= bar_here
    split = np.asarray(landed.attribute_by_source(trace).landed)
    np.testing.assert_allclose(split.sum(-1), logit.landed.heads, atol=bar_here)
    lens = landed.logit_lens(trace)
    assert float(lens.final_sigma_error.max()) <= bar_here and float(lens.closure_error.max()) <= bar_here
    assert float(landed.attribution.token_contributions(trace).overall_closure_error.max()) <= bar_here


@pytest.mark.parametrize(("name", "stacked"), [("bundled", False), ("bundled", True), ("stories", True)])
def test_everything_closes_in_float32(name: str, source: str, stacked: bool) -> None:
    check(name, source, jnp.dtype("float32"), 1e-5, stacked)


@pytest.mark.parametrize(("name", "stacked"), [("bundled", False), ("bundled", True), ("stories", True)])
def test_everything_closes_in_float64(name: str, source: str, stacked: bool, x64: None) -> None:
    check(name, source, jnp.dtype("float64"), 1e-11, stacked)


@pytest.mark.parametrize("name", MODELS)
def test_removed_writes_equal_brute_force(name: str, source: str, x64: None) -> None:
    opened = model(name, source, jnp.dtype("float64"))
    config = opened.config
    trace = opened.trace(PROMPTS[name])
    ids = np.asarray(trace.tokens.ids)
    numbers = numpy_forward(opened.params, ids, None, config)
    position = ids.shape[1] - 1
    written = every_write(numbers, config, 0, position)
    target = int(numbers["logits"][0, -1].argmax())
    W_U = np.asarray(unembedding(opened.params, opened.config).W_U, np.float64)
    x, gamma = written.vectors.sum(0), numbers["gamma"][-1]

    def logit(stream: np.ndarray) -> float:
        return float(stream / np.sqrt(np.mean(stream**2) + config.norm_eps) * gamma @ W_U[target])

    effects = landed.attribute(trace, target).direct_effect
    assert effects is not None
    of = {key: i for i, key in enumerate(written.names)}
    random = np.random.default_rng(1)
    for kind, values, count in (("head", effects.heads, config.n_heads), ("neuron", effects.neurons, config.d_ff)):
        for layer in range(config.n_layers):
            for index in random.choice(count, 4, replace=False):
                without = logit(x - written.vectors[of[kind, layer, int(index)]])
                assert abs(float(values[layer, 0, -1, index]) - (logit(x) - without)) <= 1e-9
    group = [("head", 1, 0), ("head", 2, 3), ("neuron", 2, 11), ("neuron", 3, 5)]
    removed = sum(written.vectors[of[key]] for key in group)
    found = landed.attribution.group_effect(
        trace, target, group=landed.attribution.write_group(config, [Write(*key) for key in group])
    )
    assert abs(float(found.effect[0, -1]) - (logit(x) - logit(x - removed))) <= 1e-9
