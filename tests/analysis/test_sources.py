"""Heads by the tokens they attend to, against every part of every head made in NumPy and float64."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, SOURCES, WRITES, HookPoint, LandedError, Trace
from landed_jax.analysis.attribution._token_contributions import TokenContributions, token_contributions
from landed_jax.analysis.reads import Read
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.stream_order import StreamOrder, site_names
from tests.models import BIASED, CONFIGS, FEW, NAMES, SMALL, WINDOWED, random_params, random_tokens
from tests.reference.landed import land
from tests.reference.numpy_model import numpy_forward

RECORD = WRITES | SOURCES | RESIDUALS

run = jax.jit(landed.forward, static_argnames=("config", "record", "dtype"))
pictured = jax.jit(token_contributions)
split_up = jax.jit(landed.attribute_by_source)


@cache
def traced(name: str, dtype: str = "float32", stacked: bool = False, at: tuple[int, ...] | None = None) -> Trace:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.dtype(dtype))
    params = stack_layers(params) if stacked else params
    columns = None if at is None else jnp.asarray(at)
    _, trace = run(params, random_tokens(config, lengths=(6, 3)), config, record=RECORD, at=columns)
    return trace.bind(params)


def brute_force(trace: Trace, read: Read) -> np.ndarray:
    """``[layer, batch, position, head, source]``: each part of each head's write made, landed and read."""
    config, layers = trace.config, trace.weights()["layers"]
    numbers = numpy_forward(trace.weights(), trace.tokens.ids, trace.tokens.mask, config)
    site, mask = site_names(config).index(read.site), np.asarray(trace.tokens.mask)
    B, S = mask.shape
    vector = np.broadcast_to(np.asarray(read.vector), (B, S, config.d_model))
    W_O = [np.asarray(layers[str(layer)]["attn"]["W_O"]) for layer in range(config.n_layers)]
    out = np.zeros((config.n_layers, B, S, config.n_heads, S))
    for layer, b, p, head, source in np.ndindex(*out.shape):
        if StreamOrder.of(config).next_attn[layer] > site or not mask[b, p]:
            continue
        value = numbers["v"][layer, b, source, head // config.group_size]
        write = numbers["pattern"][layer, b, head, p, source] * W_O[layer][:, head] @ value
        write = write * numbers["attn_scale"][layer, b, p]
        out[layer, b, p, head, source] = land(write, numbers, config, site, b, p) @ vector[b, p]
    return out


def reads(trace: Trace) -> dict[str, Read]:
    layer = trace.config.n_layers - 1
    random = np.random.default_rng(3)
    each = random.standard_normal((*trace.tokens.ids.shape, trace.config.d_model))
    expert = 3 if trace.config.n_experts else None
    return {
        "logit": landed.resolve(trace, landed.Logit(1)),
        "difference of each": landed.resolve(trace, landed.Logit(jnp.array([1, 2]), 0)),
        "neuron": landed.resolve(trace, landed.Neuron(layer, 5, "gate", expert)),
        "key": landed.resolve(
            trace, landed.Head(layer, 1, "key", jnp.asarray(random.standard_normal(trace.config.head_dim)))
        ),
        "each position's own": landed.resolve(trace, landed.Vector(jnp.asarray(each), site=f"{layer}.mlp")),
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_the_sum_of_every_part_at_every_kind_of_read(name: str, x64: None) -> None:
    trace = traced(name, "float64")
    real = np.asarray(trace.tokens.mask)
    for read in reads(trace).values():
        expected = brute_force(trace, read)
        found = pictured(trace, read)
        np.testing.assert_allclose(found.layers, expected.sum(3), atol=1e-12)
        np.testing.assert_allclose(found.overall, expected.sum((0, 3)), atol=1e-12)
        np.testing.assert_allclose(found.heads, expected.sum((3, 4)), atol=1e-12)
        assert float(found.closure_error.max()) < 1e-12 and float(found.overall_closure_error.max()) < 1e-12
        split = split_up(trace, read).landed
        np.testing.assert_allclose(np.asarray(split)[:, real], expected[:, real], atol=1e-12)


@pytest.mark.quick
@pytest.mark.parametrize("name", FEW)
def test_heads_are_those_of_the_attribution(name: str) -> None:
    trace = traced(name)
    shares = jax.jit(partial(landed.attribute, effects=False))(trace, jnp.asarray(1))
    found = pictured(trace, jnp.asarray(1))
    real = np.asarray(trace.tokens.mask)
    np.testing.assert_allclose(
        np.asarray(found.heads)[:, real], np.asarray(shares.landed.heads.sum(-1))[:, real], atol=1e-5
    )
    assert 0 < float(found.closure_error.max()) < 1e-5
    assert float(found.overall_closure_error.max()) < 1e-5


@pytest.mark.parametrize("name", FEW)
def test_padding_and_what_no_head_sees_is_exactly_zero(name: str) -> None:
    trace, config = traced(name), CONFIGS[name]
    layers, mask = np.asarray(pictured(trace, jnp.asarray(1)).layers), np.asarray(trace.tokens.mask)
    length = mask.shape[1]
    back = np.arange(length)[:, None] - np.arange(length)[None]
    seen = (back >= 0) & (back < (config.sliding_window or length))
    seen = seen[None] & mask[:, :, None] & mask[:, None, :]
    assert (layers[:, ~seen] == 0).all()
    assert (layers[:, seen] != 0).all()


def test_one_position_and_stacked_parameters_give_the_same() -> None:
    whole = pictured(traced("biased"), jnp.asarray(1))
    stacked = pictured(traced("biased", stacked=True), jnp.asarray(1))
    for x, y in zip(jax.tree.leaves(stacked), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
    for name, at in (("small", (4, -1)), ("windowed", (-1,))):
        whole, some = (pictured(traced(name, at=columns), jnp.asarray(1)) for columns in (None, at))
        assert some.layers.shape == (CONFIGS[name].n_layers, 2, len(at), 6)
        np.testing.assert_allclose(some.layers, np.asarray(whole.layers)[:, :, list(at)], atol=1e-5)


def test_a_prompt_of_one_token_takes_all_from_itself() -> None:
    params = random_params(BIASED)
    _, trace = run(params, jnp.array([[3]]), BIASED, record=RECORD)
    found = pictured(trace.bind(params))
    assert found.layers.shape == (BIASED.n_layers, 1, 1, 1)
    np.testing.assert_allclose(found.layers[..., 0], found.heads, atol=1e-5)


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SMALL, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    tokens = random_tokens(SMALL, lengths=(6, 3))
    traces = [run(p, tokens, SMALL, record=RECORD)[1].bind(p) for p in (narrow, wide)]
    x, y = (pictured(trace, jnp.asarray(1)).layers for trace in traces)
    np.testing.assert_allclose(x, y, atol=1e-5)


def test_an_edited_pattern_is_in_the_picture_and_an_edited_output_in_the_error() -> None:
    params, tokens = random_params(SMALL), random_tokens(SMALL, lengths=(6, 3))
    edits = {HookPoint.PATTERN: lambda value, _: value.at[..., 0].set(0.0), HookPoint.HEAD: lambda value, _: value * 2}
    found = {}
    for site, edit in edits.items():
        _, trace = jax.jit(partial(landed.forward, config=SMALL, record=RECORD, edits={site: edit}))(params, tokens)
        found[site] = pictured(trace.bind(params), jnp.asarray(1))
    assert float(found[HookPoint.PATTERN].closure_error.max()) < 1e-5
    assert float(jnp.abs(found[HookPoint.PATTERN].layers[..., 0]).max()) == 0.0
    doubled = found[HookPoint.HEAD]
    real = np.asarray(tokens.mask)
    np.testing.assert_allclose(
        np.asarray(doubled.closure_error)[:, real], np.abs(np.asarray(doubled.heads) / 2)[:, real], atol=1e-5
    )


def test_vmap_over_targets_and_over_prompts() -> None:
    trace = traced("windowed")
    many = jax.jit(jax.vmap(lambda t: token_contributions(trace, landed.Logit(t, against=0))))(jnp.arange(1, 4))
    for i in range(3):
        np.testing.assert_allclose(
            many.layers[i], pictured(trace, landed.Logit(jnp.asarray(i + 1), against=0)).layers, atol=1e-5
        )
    params, ids = random_params(WINDOWED), jnp.array([[1, 2, 5, 2], [2, 4, 3, 1]])

    def of(rows: jax.Array) -> TokenContributions:
        _, trace = landed.forward(params, rows, WINDOWED, record=RECORD)
        return token_contributions(trace.bind(params), 3)

    each = jax.jit(jax.vmap(lambda row: of(row[None])))(ids)
    np.testing.assert_allclose(each.overall[:, 0], jax.jit(of)(ids).overall, atol=1e-5)


def test_grad_matches_finite_differences(x64: None) -> None:
    params, tokens = random_params(SMALL, dtype=jnp.float64), random_tokens(SMALL, lengths=(4, 2))
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)
    weights = jnp.asarray(random.standard_normal((2, 4, 4)))

    @jax.jit
    def value(params: dict) -> jax.Array:
        _, trace = landed.forward(params, tokens, SMALL, record=RECORD)
        return jnp.sum(weights * token_contributions(trace.bind(params), landed.Logit(4, against=2)).overall)

    slopes = jax.jit(jax.grad(value))(params)
    slope = sum(jnp.sum(g * s) for g, s in zip(jax.tree.leaves(slopes), jax.tree.leaves(step), strict=True))
    ahead, behind = (value(jax.tree.map(lambda v, s, h=h: v + h * s, params, step)) for h in (1e-6, -1e-6))
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-5)


def test_what_is_missing_is_named() -> None:
    params = random_params(SMALL)
    _, trace = run(params, random_tokens(SMALL), SMALL, record=WRITES)
    with pytest.raises(LandedError, match=r"HookPoint\.PATTERN"):
        token_contributions(trace.bind(params))
    with pytest.raises(LandedError, match="bind"):
        token_contributions(trace)
