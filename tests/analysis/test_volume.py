"""σ shares at every read site, the unembedding's weak directions, and a planted neuron that acts by volume alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, LandedError, Trace
from landed_jax.analysis.attribution._volume import sigma_shares, volume, weak_directions
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.stream_order import site_names
from tests.models import CONFIGS, SMALL, WINDOWED, n_sites, random_params, random_tokens
from tests.reference.landed import every_write, heard
from tests.reference.numpy_model import numpy_forward
from tests.traces import column, real_positions, run, traced, unembedding

EVERYWHERE = WRITES | RESIDUALS
NULL = slice(0, 2)


@functools.partial(jax.jit, static_argnums=0)
def planted(dtype=jnp.float32) -> dict:
    """Neuron 7 of the last layer fires at every token and writes to two coordinates that no logit hears.

    All other writes have a twentieth of their length there.
    """
    params = random_params(SMALL, 3, dtype=dtype)
    params["unembed"]["W_U"] = params["unembed"]["W_U"].at[:, NULL].set(0)
    params["embed"]["W_E"] = params["embed"]["W_E"].at[:, NULL].multiply(0.05).at[:, 2].set(2)
    for layer in params["layers"].values():
        layer["attn"]["W_O"] = layer["attn"]["W_O"].at[NULL].multiply(0.05).at[2].set(0)
        layer["mlp"]["W_down"] = layer["mlp"]["W_down"].at[NULL].multiply(0.05).at[2].set(0)
    last = params["layers"]["1"]["mlp"]
    for name in ("W_gate", "W_up"):  # they read the coordinate that is 2 in every embedding
        last[name] = last[name].at[7].set(0).at[7, 2].set(1)
    last["W_down"] = last["W_down"].at[:, 7].set(0).at[NULL, 7].set(jnp.array([0.6, -0.8], dtype))
    return params


@pytest.mark.parametrize("name", ["stacked", "biased", "windowed", "layer_norm", "parallel"])
def test_shares_equal_brute_force_and_sum_to_one_less_epsilon_everywhere(name: str, x64: None) -> None:
    config, hold = (SMALL, stack_layers) if name == "stacked" else (CONFIGS[name], dict)
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, EVERYWHERE, hold(params))
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    shares = sigma_shares(trace).shares
    np.testing.assert_allclose(shares.total(), 1 - config.norm_eps / np.square(trace.sigma), atol=1e-12)
    for site in range(n_sites(config)):
        here = jax.tree.map(lambda share, site=site: share[site], shares)
        for b, p in real_positions(trace):
            written = every_write(numbers, config, b, p)
            x, sigma = numbers["residual"][site, b, p], numbers["sigma"][site, b, p]
            expected = written.vectors @ heard(x, config) / (config.d_model * sigma**2) * (written.sites <= site)
            np.testing.assert_allclose(column(here, b, p), expected, atol=1e-12)
    one = sigma_shares(trace, site=site_names(config)[1]).shares
    np.testing.assert_allclose(one.heads, shares.heads[1], atol=1e-13)


@pytest.mark.parametrize("chunk", [4, 2**22])
def test_weak_directions_are_numpys_singular_vectors(chunk: int, x64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landed_jax.analysis.attribution._volume._CHUNK_NUMBERS", chunk * SMALL.d_model)
    jax.clear_caches()
    params = random_params(SMALL, dtype=jnp.float64)
    weak = weak_directions(traced(SMALL, params=params), fraction=0.25)
    centred = unembedding(params, SMALL) - unembedding(params, SMALL).mean(0)
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(weak.singular_values, values[::-1], atol=1e-7)
    ours, theirs = np.asarray(weak.directions[: weak.count]), rows[::-1][: weak.count]
    assert weak.count == 3
    np.testing.assert_allclose(ours.T @ ours, theirs.T @ theirs, atol=1e-9)
    np.testing.assert_allclose(weak.mass, (values[-3:] ** 2).sum() / (values**2).sum(), rtol=1e-9)


@pytest.mark.parametrize("name", ["small", "biased", "layer_norm", "parallel"])
def test_scores_equal_their_definition(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, params=params)
    numbers, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config), unembedding(params, config)
    found = volume(trace, 1, directions=weak_directions(trace, fraction=0.3))
    _, _, rows = np.linalg.svd(W_U - W_U.mean(0), full_matrices=False)
    weakest = rows[::-1][: round(0.3 * config.d_model)]
    centred = landed.attribute(trace, landed.Logit(1, centred=True))
    weak = jax.tree.map(lambda part, like: jnp.broadcast_to(part, like.shape), found.weak, found.score)
    for b, p in real_positions(trace):
        vectors = heard(every_write(numbers, config, b, p).vectors, config) * numbers["gamma"][-1]
        inside, whole = ((vectors @ weakest.T) ** 2).sum(-1), (vectors**2).sum(-1)
        expected = inside / np.where(whole > 0, whole, 1)
        np.testing.assert_allclose(column(weak, b, p), expected, atol=1e-9)
        landed_part, mediated = (column(part, b, p) for part in (centred.landed, centred.sigma_mediated))
        both = np.abs(landed_part) + np.abs(mediated)
        ratio = np.abs(mediated) / np.where(both > 0, both, 1)
        np.testing.assert_allclose(column(found.ratio, b, p), ratio, atol=1e-9)
        np.testing.assert_allclose(column(found.score, b, p), np.abs(mediated) * ratio * expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_neuron_in_the_null_space_comes_first(dtype) -> None:
    trace = traced(SMALL, params=planted(dtype))
    found = volume(trace, directions=weak_directions(trace, fraction=2 / SMALL.d_model))
    for b, p in real_positions(trace):
        first, second = found.top(2, batch=b, position=p)
        assert (first.kind, first.layer, first.index) == ("neuron", 1, 7)
        assert first.ratio > 0.999 and first.weak > 0.999 and first.sigma_share > 0
        assert abs(first.landed) < 1e-6 < abs(first.mediated)
        assert first.score > 3 * second.score
    assert len(found.top(1000)) == SMALL.n_layers * (SMALL.n_heads + SMALL.d_ff)


def unread(config: ModelConfig, equal: int, seed: int = 0) -> tuple[dict, np.ndarray]:
    """Parameters whose centred unembedding has its `equal` weakest singular values alike, and the space of these."""
    random, d, vocab = np.random.default_rng(seed), config.d_model, config.vocab_size
    left = random.normal(size=(vocab, d))
    left, right = np.linalg.qr(left - left.mean(0))[0], np.linalg.qr(random.normal(size=(d, d)))[0]
    values = np.concatenate([np.full(equal, 0.2), np.linspace(1, 2, d - equal)])
    params = random_params(config, dtype=jnp.zeros(()).dtype)  # JAX's default float
    params["unembed"]["W_U"] = jnp.asarray(left * values @ right.T, params["unembed"]["W_U"].dtype)
    return params, right[:, :equal]


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("asked", [1, 3, 4])
def test_scores_do_not_depend_on_the_basis_among_equal_singular_values(
    asked: int, wide: bool, request: pytest.FixtureRequest
) -> None:
    if wide:
        request.getfixturevalue("x64")
    config, equal = dataclasses.replace(SMALL, vocab_size=30), 4
    params, space = unread(config, equal)
    trace = traced(config, params=params)
    weak = weak_directions(trace, fraction=asked / config.d_model)
    assert weak.asked == asked and int(weak.count) == equal
    rows, bar = np.asarray(weak.directions[:equal]), 1e-9 if wide else 1e-5
    np.testing.assert_allclose(rows.T @ rows, space @ space.T, atol=bar)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(equal, equal)))[0] @ rows
    other = dataclasses.replace(weak, directions=jnp.asarray(weak.directions).at[:equal].set(turned))
    one, two = (volume(trace, 1, directions=directions) for directions in (weak, other))
    for part in ("weak", "score"):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=bar), getattr(one, part), getattr(two, part))
    under_jit = jax.jit(lambda trace: volume(trace, 1, directions=weak_directions(trace, asked / config.d_model)).score)
    np.testing.assert_allclose(under_jit(trace).neurons, one.score.neurons, atol=bar)


@pytest.mark.parametrize("config", [dataclasses.replace(SMALL, vocab_size=7), WINDOWED], ids=["7 of 12", "11 of 8"])
def test_all_that_a_small_vocabulary_does_not_read_is_weak(config: ModelConfig) -> None:
    params = random_params(config)
    trace = traced(config, params=params)
    weak = weak_directions(trace, fraction=0.01)
    centred = unembedding(params, config) - unembedding(params, config).mean(0)
    null = scipy.linalg.null_space(centred)
    assert int(weak.count) == max(null.shape[1], 1) == max(config.d_model - config.vocab_size + 1, 1)
    if not null.shape[1]:
        return
    assert float(weak.mass) < 1e-6
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    found = volume(trace, 1, directions=weak)
    parts = jax.tree.map(lambda part, like: jnp.broadcast_to(part, like.shape), found.weak, found.score)
    for b, p in real_positions(trace):
        vectors = heard(every_write(numbers, config, b, p).vectors, config) * numbers["gamma"][-1]
        inside, whole = ((vectors @ null) ** 2).sum(-1), (vectors**2).sum(-1)
        np.testing.assert_allclose(column(parts, b, p), inside / np.where(whole > 0, whole, 1), atol=1e-5)


def test_where_all_singular_values_are_equal_every_direction_is_weak() -> None:
    config = dataclasses.replace(SMALL, vocab_size=30)
    weak = weak_directions(traced(config, params=unread(config, config.d_model)[0]))
    assert int(weak.count) == config.d_model
    np.testing.assert_allclose(weak.mass, 1, rtol=1e-6)


def test_jit_vmap_and_one_token() -> None:
    params = planted()
    whole = volume(traced(SMALL, params=params), landed.Logit(2, against=1))
    prompt = random_tokens(SMALL).ids[1, 2:3]  # the second prompt's first token
    _, trace = run(params, prompt[None], SMALL, record=EVERYWHERE, at=jnp.array([-1]))
    trace = trace.bind(params)
    many = jax.jit(jax.vmap(lambda t: volume(trace, landed.Logit(t, against=1))))(jnp.array([0, 2]))
    alone = jax.tree.map(lambda leaf: leaf[1], many.score)
    np.testing.assert_allclose(column(alone, 0, 0), column(whole.score, 1, 2), atol=1e-5)
    shares = jax.jit(sigma_shares)(trace)
    np.testing.assert_allclose(shares.shares.total(), 1 - SMALL.norm_eps / trace.sigma**2, atol=1e-6)


def test_grad_matches_finite_differences(x64: None) -> None:
    params = random_params(SMALL, dtype=jnp.float64)
    trace = traced(SMALL, EVERYWHERE, params)

    def scaled(size: jax.Array) -> Trace:
        return dataclasses.replace(trace, sown={**trace.sown, "head": trace.sown["head"] * size})

    @jax.jit
    def reduced(size: jax.Array) -> jax.Array:
        score = volume(scaled(size), 1).score
        return score.heads[1, 1, 3] @ jnp.arange(4.0) + sigma_shares(scaled(size)).shares.heads[
            3, 1, 1, 3
        ] @ jnp.arange(4.0)

    slope = jax.grad(reduced)(1.0)
    np.testing.assert_allclose(slope, (reduced(1 + 1e-6) - reduced(1 - 1e-6)) / 2e-6, rtol=1e-5)


def test_what_cannot_be_says_so() -> None:
    trace = traced(SMALL)
    with pytest.raises(LandedError, match="did not record attn_residual"):
        sigma_shares(trace)
    with pytest.raises(LandedError, match="not a read site"):
        sigma_shares(trace, site="9.attn")
    with pytest.raises(LandedError, match="above 0"):
        weak_directions(trace, fraction=0.0)
    read = landed.reads.Read(jnp.ones((1, 1, 12)), jnp.ones((2, 5)), jnp.zeros((1, 1)), site="1.mlp")
    with pytest.raises(LandedError, match=r"this read is at 1\.mlp"):
        volume(trace, read)
