"""Effects on log-probabilities, against the whole vocabulary read again without each write."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from landed_jax import HookPoint, LandedError
from landed_jax.analysis.attribution._log_probability import attribute_log_probability
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from tests.models import CONFIGS, LAYER_NORM, SMALL, random_params, random_tokens
from tests.reference.landed import every_write, heard, landed_contributions, sigma_of
from tests.reference.numpy_model import numpy_forward, soft_capped
from tests.traces import asked_by, column, real_positions, run, traced, unembedding


def removed(numbers: dict, config: ModelConfig, W_U: np.ndarray, token: int, b: int, p: int) -> np.ndarray:
    """The log-probability less that without each write, through the norm and the whole unembedding both times."""
    stream = numbers["residual"][-1, b, p]

    def value(x: np.ndarray) -> float:
        normed = heard(x, config) / sigma_of(x, config) * numbers["gamma"][-1] + numbers["beta"][-1]
        return float(log_softmax(soft_capped(W_U @ normed, config.logit_cap))[token])

    return np.array([value(stream) - value(stream - w) for w in every_write(numbers, config, b, p).lost])


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "chunk"),
    [
        *(("small", 5), ("stacked", 13), ("biased", None), ("windowed", 1), ("both_norms", 4), ("raw_reads", 5)),
        *(("layer_norm", 4), ("parallel", None), ("capped", 4)),
    ],
)
def test_equals_brute_force(name: str, chunk: int | None, x64: None) -> None:
    capped = dataclasses.replace(LAYER_NORM, logit_cap=1.5, residual_scale=0.7)
    config = {"stacked": SMALL, "capped": capped, **CONFIGS}[name]
    hold = stack_layers if name == "stacked" else dict
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, params=hold(params))
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    W_U, top = unembedding(params, config), numbers["logits"].argmax(-1)
    target = {} if name == "small" else {"target": jnp.array([1, 2])}
    found = attribute_log_probability(trace, asked_by(**target), chunk=chunk)
    for b, p in real_positions(trace):
        token = int(top[b, p]) if name == "small" else b + 1
        log_p = log_softmax(numbers["logits"][b, p])
        np.testing.assert_allclose(found.value[b, p], log_p[token], atol=1e-12)
        np.testing.assert_allclose(
            column(found.direct_effect, b, p), removed(numbers, config, W_U, token, b, p), atol=1e-10
        )
        # The slope of the cap at each token's logit; 1 without a cap.
        slope = 1 - np.square(numbers["logits"][b, p] / config.logit_cap) if config.logit_cap else np.ones(len(W_U))
        written = every_write(numbers, config, b, p)
        gradient = slope[token] * W_U[token] - (np.exp(log_p) * slope) @ W_U
        expected = landed_contributions(written, numbers, gradient, config, b, p)
        np.testing.assert_allclose(column(found.landed, b, p), expected, atol=1e-12)
        np.testing.assert_allclose(found.gradient_value[b, p], expected.sum(), atol=1e-11)
        heads = np.array([kind == "head" for kind, _, _ in written.names])
        effect = column(found.direct_effect, b, p)[heads]
        nmae = np.abs(expected[heads] - effect).sum() / np.abs(effect).sum()
        np.testing.assert_allclose(found.frozen_sigma_agreement.heads.nmae[b, p], nmae, rtol=1e-8)
    assert float(found.closure_error.max()) < 1e-11


@pytest.mark.parametrize("size", [1e-4, 1.0, 3e2, 1e5])
def test_float32_keeps_small_effects_and_survives_large_ones(size: float) -> None:
    params = random_params(SMALL)
    down = params["layers"]["1"]["mlp"]["W_down"]
    params["layers"]["1"]["mlp"]["W_down"] = down.at[:, 3].multiply(size)
    params["unembed"]["W_U"] = params["unembed"]["W_U"] * 10  # sharp, so that large changes are changes by many nats
    trace = traced(SMALL, params=params)
    found = attribute_log_probability(trace, 1, chunk=4)
    numbers, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, SMALL), unembedding(params, SMALL)
    for b, p in real_positions(trace):
        loud = every_write(numbers, SMALL, b, p).names.index(("neuron", 1, 3))
        mine = column(found.direct_effect, b, p)[loud]
        expected = removed(numbers, SMALL, W_U, 1, b, p)[loud]
        if size < 1:  # the effects are of the size of the log-probability's own rounding, the errors far under it
            assert abs(mine - expected) < 1e-3 * abs(expected) < 1e-6
        else:
            bar = max(1e-7 * np.abs(trace.sigma[-1, b, p]), 1e-6) * 100
            assert abs(mine - expected) < bar + 1e-5 * abs(expected)


@pytest.mark.parametrize("likely", [True, False], ids=["the likeliest", "another"])
@pytest.mark.parametrize("gap", [3.0, 10.0, 16.0, 40.0])
def test_float32_keeps_its_digits_where_the_model_is_sure(gap: float, likely: bool) -> None:
    # One token alone stands ahead of all others by about `gap` nats: 1 − p is from 0.2 down to 1e-17.
    params = random_params(SMALL)
    plain = traced(SMALL, params=params)
    b, p = 0, 4
    token, other = (int(i) for i in np.argsort(-np.asarray(plain.logits[b, p]))[:2])
    heard = np.asarray(plain[HookPoint.FINAL_NORMED][b, p], np.float64)
    W_U = params["unembed"]["W_U"]
    params["unembed"]["W_U"] = W_U.at[token].add(jnp.asarray(gap * heard / (heard @ heard), W_U.dtype))
    trace = traced(SMALL, params=params)
    target = token if likely else other
    found = attribute_log_probability(trace, target, chunk=5)
    numbers, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, SMALL), unembedding(params, SMALL)
    log_p = log_softmax(numbers["logits"][b, p])
    beside = np.delete(np.arange(SMALL.vocab_size), target)
    rest = np.exp(log_p[beside])
    value = np.log1p(-rest.sum()) if likely else log_p[target]
    np.testing.assert_allclose(found.value[b, p], value, rtol=1e-5)
    gradient = rest @ (W_U[target] - W_U[beside])
    expected = landed_contributions(every_write(numbers, SMALL, b, p), numbers, gradient, SMALL, b, p)
    bar = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(column(found.landed, b, p), expected, atol=bar)
    assert float(found.closure_error[b, p]) < bar
    np.testing.assert_allclose(found.gradient_value[b, p], expected.sum(), rtol=1e-5)
    exact = effects_of_the_others(numbers, W_U, target, b, p)
    np.testing.assert_allclose(column(found.direct_effect, b, p), exact, atol=1e-5 * np.abs(exact).max())


def effects_of_the_others(numbers: dict, W_U: np.ndarray, token: int, b: int, p: int) -> np.ndarray:
    """`removed`, with log p as −log Σ_v exp(l_v − l_t) on both sides, which float64 holds for 1 − p = 1e-17 too."""
    stream, beside = numbers["residual"][-1, b, p], np.delete(np.arange(len(W_U)), token)

    def odds(x: np.ndarray) -> float:
        logits = W_U @ (x / np.sqrt(np.mean(x**2) + SMALL.norm_eps) * numbers["gamma"][-1])
        return float(np.exp(logits[beside] - logits[token]).sum())

    written = every_write(numbers, SMALL, b, p).vectors
    return np.array([np.log1p(odds(stream - w)) - np.log1p(odds(stream)) for w in written])


def test_jit_vmap_bfloat16_and_one_position() -> None:
    params = random_params(SMALL, dtype=jnp.bfloat16)
    whole = attribute_log_probability(traced(SMALL, params=params), 2)
    prompt = random_tokens(SMALL).ids[1, 2:3]  # the second prompt's first token
    _, trace = run(params, prompt[None], SMALL, at=jnp.array([-1]))
    many = jax.jit(jax.vmap(lambda t: attribute_log_probability(trace.bind(params), t, chunk=3)))(jnp.arange(4))
    for part in ("direct_effect", "landed"):
        alone = jax.tree.map(lambda leaf: leaf[2], getattr(many, part))
        np.testing.assert_allclose(column(alone, 0, 0), column(getattr(whole, part), 1, 2), atol=2e-5)


def test_grad_matches_finite_differences(x64: None) -> None:
    trace = traced(SMALL, params=random_params(SMALL, dtype=jnp.float64))
    random = np.random.default_rng(0)
    weights = [jnp.asarray(random.standard_normal(n)) for n in (SMALL.n_heads, SMALL.d_ff)]

    @jax.jit
    def reduced(size: jax.Array) -> jax.Array:
        scaled = dataclasses.replace(trace, sown={**trace.sown, "head": trace.sown["head"] * size})
        effect = attribute_log_probability(scaled, 1, chunk=5).direct_effect
        return effect.heads[1, 1, 3] @ weights[0] + effect.neurons[0, 1, 3] @ weights[1]

    slope = jax.grad(reduced)(1.0)
    np.testing.assert_allclose(slope, (reduced(1 + 1e-6) - reduced(1 - 1e-6)) / 2e-6, rtol=1e-5)


def test_what_cannot_be_says_so() -> None:
    with pytest.raises(LandedError, match="at least one token"):
        attribute_log_probability(traced(SMALL), 1, chunk=0)
    with pytest.raises(LandedError, match="bind"):
        attribute_log_probability(dataclasses.replace(traced(SMALL), params=None), 1)


@pytest.mark.parametrize("times", [1e2, 1e4])
def test_float32_keeps_its_digits_where_one_head_is_nearly_all_of_an_output(times: float) -> None:
    config = dataclasses.replace(CONFIGS["both_norms"], norm_eps=1e-6, output_bias=False)
    params = random_params(config)
    attn = params["layers"]["1"]["attn"]
    attn["W_O"] = attn["W_O"].at[:, 2].multiply(times)
    trace = traced(config, params=params)
    numbers, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config), unembedding(params, config)
    found = attribute_log_probability(trace, 1).direct_effect
    for b, p in real_positions(trace):
        np.testing.assert_allclose(column(found, b, p), removed(numbers, config, W_U, 1, b, p), rtol=1e-4, atol=2e-5)
