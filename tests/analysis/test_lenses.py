"""The lens at every read site, in both variants, against streams and writes made in NumPy and float64."""

import dataclasses
from collections.abc import Callable

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, LandedError, Trace
from landed_jax.analysis.attribution._logit_lens import LensTokens, LogitLens, lens_top_tokens, logit_lens
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.stream_order import site_names
from tests.models import BIASED, CONFIGS, HELD, SMALL, as_they_are, n_sites, random_params, random_tokens
from tests.reference.landed import every_write, heard
from tests.reference.numpy_model import Arrays, numpy_forward, root_mean_square
from tests.traces import asked_by, unembedding

RECORD = WRITES | RESIDUALS
# Of one layer, with every bias: enough where what is tested is a transform or an argument, and it compiles quickly.
SHORT = dataclasses.replace(BIASED, n_layers=1)
Hold = Callable[[dict], dict]
run = jax.jit(landed.forward, static_argnames=("config", "record"))


def traced(config: ModelConfig, params: dict, lengths: tuple[int, ...] = (5, 3), record=RECORD, **arguments) -> Trace:
    return run(params, random_tokens(config, lengths=lengths), config, record=record, **arguments)[1].bind(params)


def lens_of(
    numbers: Arrays, config: ModelConfig, direction: np.ndarray, sigma: np.ndarray, b: int, p: int
) -> np.ndarray:
    """``[site]``, or ``[site, vocab]`` for every token's direction: each site's stream read with the final γ."""
    stream = heard(numbers["residual"][:, b, p], config)
    return (stream * numbers["gamma"][-1] / sigma[:, None] + numbers["beta"][-1]) @ direction.T


def check(lens: LogitLens, numbers: Arrays, config: ModelConfig, u: np.ndarray, b: int, p: int, column: int) -> None:
    """One position of a lens against NumPy, the parts from writes made one by one."""
    own = numbers["sigma"][:, b, column]
    final = np.full_like(own, own[-1])
    written = every_write(numbers, config, b, column)
    products = heard(written.vectors, config) * numbers["gamma"][-1] @ u
    names = ["embedding", "position_embedding"][: 1 + config.learned_positions]
    parts = {"head": "attn_write", "attn_bias": "attn_write", "neuron": "mlp_write", "mlp_bias": "mlp_write"}
    names += [f"{layer}.{part}_write" for layer in range(config.n_layers) for part in ("attn", "mlp")]
    assert lens.groups == tuple(names)
    sums, first = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    for (kind, layer, _), product, site in zip(written.names, products, written.sites, strict=True):
        before = {"embedding": "embedding", "position": "position_embedding"}
        name = before[kind] if layer is None else f"{layer}.{parts[kind]}"
        sums[name], first[name] = sums[name] + product, site
    groups = np.array(list(sums.values()))
    after = np.arange(n_sites(config))[:, None] >= np.array(list(first.values()))
    np.testing.assert_allclose(lens.own_sigma[:, b, p], lens_of(numbers, config, u, own, b, column), atol=1e-11)
    np.testing.assert_allclose(lens.final_sigma[:, b, p], lens_of(numbers, config, u, final, b, column), atol=1e-11)
    np.testing.assert_allclose(lens.own_sigma_contributions[..., b, p], after * groups / own[:, None], atol=1e-11)
    np.testing.assert_allclose(lens.final_sigma_contributions[:, b, p], groups / own[-1], atol=1e-11)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "read", "hold"),
    [
        ("small", "top", as_they_are),
        ("biased", "difference", stack_layers),
        ("biased", "vector", stack_layers),
        ("windowed", "centred", as_they_are),
        ("layer_norm", "centred", stack_layers),
        ("layer_norm", "vector", as_they_are),
        ("parallel", "difference", as_they_are),
        ("experts", "difference", stack_layers),
    ],
)
def test_both_lenses_and_their_parts_equal_brute_force(name: str, read: str, hold: Hold, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, hold(params))
    numbers, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config), unembedding(params, config)
    top = numbers["logits"].argmax(-1)
    mine = np.random.default_rng(2).standard_normal(config.d_model)
    arguments, directions = {
        "top": ({}, W_U[top]),
        "difference": ({"target": jnp.array([1, 2]), "against": 0}, (W_U[[1, 2]] - W_U[0])[:, None] + 0 * W_U[top]),
        "centred": ({"target": 1, "centred": True}, W_U[1] - W_U.mean(0) + 0 * W_U[top]),
        "vector": (
            {"read": landed.resolve(trace, landed.Vector(jnp.asarray(mine), site="final"))},
            mine + 0 * W_U[top],
        ),
    }[read]
    lens = logit_lens(trace, asked_by(**arguments))
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        check(lens, numbers, config, directions[b, p], b, p, p)
        final = lens_of(numbers, config, directions[b, p], numbers["sigma"][:, b, p], b, p)[-1]
        np.testing.assert_allclose(lens.value[b, p], final, atol=1e-11)
    for error in (lens.own_sigma_error, lens.final_sigma_error):
        assert error.shape == (n_sites(config), 2, 5)
        assert float(error.max()) <= 1e-11
    assert float(lens.closure_error.max()) <= 1e-11


@pytest.mark.parametrize(("name", "hold"), HELD)
def test_closes_in_float32_at_every_site(name: str, hold: Hold) -> None:
    config = CONFIGS[name]
    lens = logit_lens(traced(config, hold(random_params(config))), landed.Logit(1, against=2))
    size = jnp.sum(jnp.abs(lens.own_sigma_contributions), axis=1)
    assert float((lens.own_sigma_error / size).max()) <= 1e-5
    size = jnp.abs(lens.offset) + jnp.sum(jnp.abs(lens.final_sigma_contributions), axis=0)
    assert float((lens.final_sigma_error / size[None]).max()) <= 1e-5
    assert float((lens.closure_error / size).max()) <= 1e-5


def test_the_increments_are_the_attributions_layers() -> None:
    trace = traced(SMALL, random_params(SMALL))
    lens, shares = logit_lens(trace, landed.Logit(3, against=5)), landed.attribute(trace, 3, against=5).landed
    assert lens.sites == site_names(SMALL)
    assert lens.groups[0] == "embedding" and len(lens.groups) == n_sites(SMALL)
    steps = jnp.diff(lens.final_sigma, axis=0)
    for layer in range(SMALL.n_layers):
        attn, mlp = lens.groups.index(f"{layer}.attn_write"), lens.groups.index(f"{layer}.mlp_write")
        parts = {
            attn: shares.heads[layer].sum(-1) + shares.attn_bias[layer],
            mlp: shares.neurons[layer].sum(-1) + shares.mlp_bias[layer],
        }
        for group, part in parts.items():
            np.testing.assert_allclose(lens.final_sigma_contributions[group], part, atol=1e-5)
            np.testing.assert_allclose(steps[group - 1], part, atol=2e-5)
    np.testing.assert_allclose(lens.final_sigma[0], shares.embedding, atol=1e-5)


@pytest.mark.parametrize(("position", "lengths"), [(-1, (5, 3)), (0, (1, 1))])
def test_one_recorded_position(position: int, lengths: tuple[int, ...], x64: None) -> None:
    params, tokens = random_params(BIASED, dtype=jnp.float64), random_tokens(BIASED, lengths=lengths)
    numbers = numpy_forward(params, tokens.ids, tokens.mask, BIASED)
    trace = traced(BIASED, params, lengths, at=jnp.array([position]))
    W_U = unembedding(params, BIASED)
    for b in range(2):
        check(logit_lens(trace, landed.Logit(4, against=1)), numbers, BIASED, W_U[4] - W_U[1], b, 0, position)
        found = lens_top_tokens(trace, k=3)
        np.testing.assert_array_equal(found.ids[:, b, 0], ranked(numbers, BIASED, W_U, b, position)[:, :3])


def ranked(numbers: Arrays, config: ModelConfig, W_U: np.ndarray, b: int, p: int) -> np.ndarray:
    return np.argsort(-lens_of(numbers, config, W_U, numbers["sigma"][:, b, p], b, p), axis=-1)


@pytest.mark.parametrize(("name", "hold"), HELD)
def test_top_tokens_equal_brute_force(name: str, hold: Hold, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace, W_U = traced(config, hold(params)), unembedding(params, config)
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    found = lens_top_tokens(trace, k=4)
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        order = ranked(numbers, config, W_U, b, p)[:, :4]
        np.testing.assert_array_equal(found.ids[:, b, p], order)
        # The lens reads every site through the final norm, whether the site has one or not.
        own = root_mean_square(heard(numbers["residual"][:, b, p], config), config)
        for values, sigma in ((found.own_sigma, own), (found.final_sigma, np.full_like(own, own[-1]))):
            expected = np.take_along_axis(lens_of(numbers, config, W_U, sigma, b, p), order, axis=-1)
            np.testing.assert_allclose(values[:, b, p], expected, atol=1e-11)


def test_top_tokens_and_the_lens_of_them_agree() -> None:
    trace = traced(SMALL, random_params(SMALL))
    found = lens_top_tokens(trace, k=2)
    for site, rank in ((0, 1), (3, 0)):
        lens = logit_lens(trace, found.ids[site, ..., rank])
        np.testing.assert_allclose(lens.own_sigma[site], found.own_sigma[site, ..., rank], atol=1e-5)
        np.testing.assert_allclose(lens.final_sigma[site], found.final_sigma[site, ..., rank], atol=1e-5)


def test_every_sites_vocabulary_is_never_alive_at_once() -> None:
    shapes: set[tuple[int, ...]] = set()

    def walk(jaxpr) -> None:
        for equation in jaxpr.eqns:
            shapes.update(tuple(v.aval.shape) for v in equation.outvars)
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                walk(inner)

    trace = traced(SMALL, random_params(SMALL))
    walk(jax.make_jaxpr(lambda t: lens_top_tokens(t, k=2))(trace).jaxpr)
    vocab = SMALL.vocab_size
    assert (2, 5, vocab) in shapes
    assert not [shape for shape in shapes if vocab in shape and np.prod(shape) > 2 * 5 * vocab and shape != (vocab, 12)]


def test_jit_and_vmap_over_prompts_and_over_targets() -> None:
    params, ids = random_params(SHORT), jnp.array([[1, 5, 2], [3, 3, 8]])

    def both(row: jax.Array, target: jax.Array) -> tuple[LogitLens, LensTokens]:
        trace = landed.forward(params, row[None], SHORT, record=RECORD)[1].bind(params)
        return logit_lens(trace, landed.Logit(target, against=7)), lens_top_tokens(trace, k=3)

    trace = run(params, ids, SHORT, record=RECORD)[1].bind(params)
    lens, top = logit_lens(trace, landed.Logit(2, against=7)), lens_top_tokens(trace, k=3)
    lenses, tops = jax.jit(jax.vmap(jax.vmap(both, (None, 0)), (0, None)))(ids, jnp.arange(4))
    for field in ("own_sigma", "final_sigma", "own_sigma_contributions", "final_sigma_contributions"):
        each = jnp.moveaxis(getattr(lenses, field)[:, 2, ..., 0, :], 0, -2)
        np.testing.assert_allclose(each, getattr(lens, field), atol=2e-5)
    np.testing.assert_array_equal(jnp.moveaxis(tops.ids[:, 0, :, 0], 0, 1), top.ids)
    np.testing.assert_allclose(jnp.moveaxis(tops.own_sigma[:, 0, :, 0], 0, 1), top.own_sigma, atol=2e-5)


def test_grad_matches_finite_differences(x64: None) -> None:
    params = random_params(SHORT, dtype=jnp.float64)
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)

    @jax.jit
    def reduced(h: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda v, s: v + h * s, params, step)
        trace = landed.forward(moved, jnp.array([[1, 0, 5]]), SHORT, record=RECORD)[1].bind(moved)
        lens, top = logit_lens(trace, landed.Logit(3, against=4)), lens_top_tokens(trace, k=2)
        return sum(
            jnp.sin(v).sum() for v in (lens.own_sigma, lens.own_sigma_contributions, lens.final_sigma, top.own_sigma)
        )

    slope = jax.jit(jax.grad(reduced))(0.0)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (reduced(1e-6) - reduced(-1e-6)) / 2e-6, rtol=1e-5)


def test_an_edited_stream_shows_in_the_errors() -> None:
    params = random_params(SMALL)
    edits = {landed.HookPoint.MLP_RESIDUAL: lambda x, layer: jnp.where(layer == 1, x + 0.5, x)}
    edited = jax.jit(lambda p, tokens: landed.forward(p, tokens, SMALL, record=RECORD, edits=edits)[1])
    trace = edited(params, random_tokens(SMALL))
    lens = logit_lens(trace.bind(params), landed.Logit(1, against=3))
    for error in (lens.own_sigma_error, lens.final_sigma_error):
        assert float(error[:3].max()) < 1e-5 < 1e-3 < float(error[3].min())


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SHORT, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    one, other = (logit_lens(traced(SHORT, p), landed.Logit(1, against=2)) for p in (narrow, wide))
    np.testing.assert_allclose(one.own_sigma, other.own_sigma, atol=1e-5)
    one, other = (lens_top_tokens(traced(SHORT, p), k=SHORT.vocab_size) for p in (narrow, wide))
    np.testing.assert_allclose(one.final_sigma, other.final_sigma, atol=1e-5)


def test_bad_arguments_say_so() -> None:
    trace = traced(SMALL, random_params(SMALL))
    read = landed.resolve(trace, landed.Vector(jnp.ones(SMALL.d_model), site="1.attn"))
    with pytest.raises(LandedError, match=r"read at 1\.attn"):
        logit_lens(trace, read)
    for k in (0, 14):
        with pytest.raises(LandedError, match="holds 13"):
            lens_top_tokens(trace, k=k)
    without = traced(SMALL, random_params(SMALL), record=WRITES)
    for function in (lambda t: logit_lens(t, 1), lens_top_tokens):
        with pytest.raises(LandedError, match="did not record attn_residual"):
            function(without)
