"""The stream's growth, and each layer's writes along and across it, against NumPy in float64."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, LandedError, Trace
from landed_jax.analysis.scale._growth import ResidualGrowth, residual_growth
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.stream_order import site_names
from tests.models import BIASED, CONFIGS, FEW, HELD, SMALL, n_sites, random_params, random_tokens
from tests.reference.landed import every_write
from tests.reference.numpy_model import Arrays, numpy_forward

RECORD = WRITES | RESIDUALS
# Of one layer, with every bias: enough where what is tested is a transform or an argument, and it compiles quickly.
SHORT = dataclasses.replace(BIASED, n_layers=1)
Hold = Callable[[dict], dict]
run = jax.jit(landed.forward, static_argnames=("config", "record"))


def traced(config: ModelConfig, params: dict, lengths: tuple[int, ...] = (5, 3), record=RECORD, **arguments) -> Trace:
    return run(params, random_tokens(config, lengths=lengths), config, record=record, **arguments)[1].bind(params)


def check(growth: ResidualGrowth, numbers: Arrays, config: ModelConfig, b: int, p: int, column: int) -> None:
    """One position against writes made one by one: the cosine with the stream, and Pythagoras for the rest."""
    stream, written = numbers["residual"][:, b, column], every_write(numbers, config, b, column)
    length = np.linalg.norm(stream, axis=-1) / np.sqrt(config.d_model)
    np.testing.assert_allclose(growth.rms[:, b, p], length, atol=1e-12)
    parts = (("head", "attn_bias"), ("neuron", "mlp_bias"))
    whole = dict.fromkeys(((layer, kinds) for layer in range(config.n_layers) for kinds in parts), 0.0)
    for (kind, layer, _), vector in zip(written.names, written.vectors, strict=True):
        if layer is not None:
            place = layer, next(kinds for kinds in parts if kind in kinds)
            whole[place] = whole[place] + vector
    vectors = list(whole.values())
    stream = np.cumsum([stream[0], *vectors], axis=0)
    length = np.linalg.norm(stream, axis=-1) / np.sqrt(config.d_model)
    np.testing.assert_allclose(growth.ratio[:, b, p], length[1:] / length[:-1], rtol=1e-11)
    for write, vector in enumerate(vectors):
        cosine = vector @ stream[write] / np.linalg.norm(vector) / np.linalg.norm(stream[write])
        size = np.linalg.norm(vector) / np.sqrt(config.d_model)
        np.testing.assert_allclose(growth.along[write, b, p], size * cosine, atol=1e-12)
        np.testing.assert_allclose(growth.across[write, b, p], size * np.sqrt(1 - cosine**2), atol=1e-11)


@pytest.mark.parametrize(("name", "hold"), HELD)
def test_equals_brute_force(name: str, hold: Hold, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, hold(params))
    growth = residual_growth(trace)
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        check(growth, numbers, config, b, p, p)
    assert growth.closure_error.shape == (n_sites(config) - 1, 2, 5)
    assert float(growth.closure_error.max()) <= 1e-11
    assert growth.sites == site_names(config)
    assert growth.writes == tuple(f"{n}.{part}_write" for n in range(config.n_layers) for part in ("attn", "mlp"))


@pytest.mark.parametrize(("position", "lengths"), [(-1, (5, 3)), (0, (1, 1))])
def test_one_recorded_position(position: int, lengths: tuple[int, ...], x64: None) -> None:
    params, tokens = random_params(BIASED, dtype=jnp.float64), random_tokens(BIASED, lengths=lengths)
    numbers = numpy_forward(params, tokens.ids, tokens.mask, BIASED)
    growth = residual_growth(traced(BIASED, params, lengths, at=jnp.array([position])))
    for b in range(2):
        check(growth, numbers, BIASED, b, 0, position)


@pytest.mark.parametrize("name", FEW)
def test_closes_in_float32(name: str) -> None:
    config = CONFIGS[name]
    trace = traced(config, random_params(config))
    growth = residual_growth(trace)
    assert float(growth.closure_error.max()) <= 1e-5
    normed = slice(None) if config.input_norms else slice(-1, None)
    unseen = jnp.square(jnp.mean(trace.residual, axis=-1)) if config.norm == "layer" else 0 * growth.rms
    sigma = jnp.sqrt(jnp.square(growth.rms) - unseen + config.norm_eps)
    np.testing.assert_allclose(sigma[normed], trace.sigma[normed], rtol=1e-5)


def test_an_edited_write_shows_in_the_closure_error() -> None:
    params = random_params(SMALL)
    edits = {landed.HookPoint.ATTN_WRITE: lambda w, layer: jnp.where(layer == 1, 2 * w, w)}
    edited = jax.jit(lambda p, tokens: landed.forward(p, tokens, SMALL, record=RECORD, edits=edits)[1])
    trace = edited(params, random_tokens(SMALL))
    error = residual_growth(trace.bind(params)).closure_error
    assert float(error[jnp.array([0, 1, 3])].max()) < 1e-5 < 1e-3 < float(error[2].max())


def test_a_stream_of_zeros_has_nothing_along_it() -> None:
    params = random_params(SHORT)
    params["embed"]["W_E"] = params["embed"]["W_E"].at[0].set(0.0)
    _, trace = run(params, jnp.array([[0, 3]]), SHORT, record=RECORD)
    growth = residual_growth(trace.bind(params))
    assert growth.rms[0, 0, 0] == growth.ratio[0, 0, 0] == growth.along[0, 0, 0] == 0
    np.testing.assert_allclose(growth.across[0, 0, 0], growth.rms[1, 0, 0], rtol=1e-5)
    assert float(growth.closure_error.max()) <= 1e-5


def test_jit_and_vmap_over_prompts() -> None:
    params, ids = random_params(SHORT), jnp.array([[1, 5, 2], [3, 3, 8]])

    def one(row: jax.Array) -> ResidualGrowth:
        return residual_growth(landed.forward(params, row[None], SHORT, record=RECORD)[1].bind(params))

    whole = residual_growth(run(params, ids, SHORT, record=RECORD)[1].bind(params))
    many = jax.jit(jax.vmap(one))(ids)
    for field in ("rms", "ratio", "along", "across"):
        np.testing.assert_allclose(jnp.moveaxis(getattr(many, field)[:, :, 0], 0, 1), getattr(whole, field), atol=2e-5)


def test_grad_matches_finite_differences(x64: None) -> None:
    params = random_params(SHORT, dtype=jnp.float64)
    params["embed"]["W_E"] = params["embed"]["W_E"].at[0].set(0.0)
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)
    step["embed"]["W_E"] = step["embed"]["W_E"].at[0].set(0.0)  # a stream of zeros must not spoil the slope

    @jax.jit
    def reduced(h: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda v, s: v + h * s, params, step)
        trace = landed.forward(moved, jnp.array([[1, 0, 5]]), SHORT, record=RECORD)[1].bind(moved)
        growth = residual_growth(trace)
        return sum(jnp.sum(value) for value in (growth.rms, growth.ratio, growth.along, growth.across))

    slope = jax.jit(jax.grad(reduced))(0.0)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (reduced(1e-6) - reduced(-1e-6)) / 2e-6, rtol=1e-5)


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SHORT, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    one, other = (residual_growth(traced(SHORT, p)) for p in (narrow, wide))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_bad_traces_say_so() -> None:
    params = random_params(SHORT)
    with pytest.raises(LandedError, match="did not record attn_residual"):
        residual_growth(traced(SHORT, params, record=WRITES))
    with pytest.raises(LandedError, match="did not record head"):
        residual_growth(traced(SHORT, params, record=RECORD - {landed.HookPoint.HEAD}))
    with pytest.raises(LandedError, match="bind"):
        residual_growth(run(params, random_tokens(SHORT), SHORT, record=RECORD)[1])
