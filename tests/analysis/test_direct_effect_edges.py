"""Direct effects of a write that is nearly the whole stream, in float32, against brute force in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import Write
from landed_jax.analysis.attribution._effects import NEARLY_NOTHING_LEFT, mediated_effect
from landed_jax.analysis.attribution._groups import group_effect, write_group
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from tests.models import BIASED, BOTH_NORMS, SMALL, random_params
from tests.reference.landed import every_write, removed_effects
from tests.reference.numpy_model import numpy_forward
from tests.traces import column, real_positions, traced

TINY_EPS = dataclasses.replace(SMALL, norm_eps=1e-5)
LOUD = {"embedding": ("embedding", None, None), "head": ("head", 0, 2), "neuron": ("neuron", 0, 3)}


def loud_params(config: ModelConfig, kind: str, times: float) -> dict:
    """Random parameters with one kind of write so much larger than all others that it is nearly the stream."""
    params = random_params(config)
    first = params["layers"]["0"]
    if kind == "embedding":
        for layer in params["layers"].values():
            layer["attn"]["W_O"], layer["mlp"]["W_down"] = layer["attn"]["W_O"] / times, layer["mlp"]["W_down"] / times
    elif kind == "head":
        first["attn"]["W_O"] = first["attn"]["W_O"].at[:, 2].multiply(times)
    elif kind == "neuron":
        first["mlp"]["W_down"] = first["mlp"]["W_down"].at[:, 3].multiply(times)
    else:
        for layer in params["layers"].values():
            layer["mlp"]["b_down"] = layer["mlp"]["b_down"] / times
        first["attn"]["b_O"] = first["attn"]["b_O"] * times
    return params


def check(config: ModelConfig, params: dict, hold, name: tuple) -> None:
    """Every write's effect; the loud one's to an error that grows as σ/σ′, not as its square."""
    trace = traced(config, params=hold(params))
    effects = landed.attribute(trace, 1).direct_effect
    assert effects is not None
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    u = np.asarray(params["unembed" if "unembed" in params else "embed"].get("W_U", params["embed"]["W_E"])[1])
    length, near = np.linalg.norm(u * numbers["gamma"][-1]) * config.d_model**0.5, 0
    for b, p in real_positions(trace):
        written = every_write(numbers, config, b, p)
        expected = removed_effects(written, numbers, u.astype(np.float64), config, b, p)
        error = np.abs(column(effects, b, p) - expected) / length
        loud = written.names.index(name)
        rest = numbers["residual"][-1, b, p] - written.vectors[loud]
        left = np.sqrt(np.mean(rest**2) + config.norm_eps) / numbers["sigma"][-1, b, p]
        near += left**2 < NEARLY_NOTHING_LEFT
        assert error[loud] < 1e-6 / min(left, 1)
        assert np.delete(error, loud).max() < 1e-5
    assert near, "no write came near to being the whole stream: this test would test nothing"


@pytest.mark.parametrize("kind", LOUD)
@pytest.mark.parametrize("times", [1e2, 3e3])
def test_the_error_grows_no_faster_than_sigma_ratio(kind: str, times: float) -> None:
    check(TINY_EPS, loud_params(TINY_EPS, kind, times), dict, LOUD[kind])


def test_a_loud_bias_in_stacked_parameters() -> None:
    config = dataclasses.replace(BIASED, norm_eps=1e-5)
    check(config, loud_params(config, "bias", 3e3), stack_layers, ("attn_bias", 0, None))


def test_vmap_over_targets_mends_as_well() -> None:
    trace = traced(TINY_EPS, params=loud_params(TINY_EPS, "neuron", 3e3))
    effects = landed.attribute(trace, 1).direct_effect
    mapped = jax.vmap(lambda t: landed.attribute(trace, t).direct_effect)(jnp.array([1, 2]))
    assert effects is not None and mapped is not None
    np.testing.assert_allclose(mapped.neurons[0], effects.neurons, rtol=1e-4, atol=1e-4)


def test_a_stream_far_above_epsilon_leaves_no_infinity() -> None:
    # ε/σ² is under float32's resolution at 1: a rounded δ of −1 must not become log 0.
    numbers = [jnp.float32(v) for v in (1.0, 1.0, 4e8, 4e8, 1e4)]
    found, slope = jax.value_and_grad(lambda wx: mediated_effect(*numbers[:2], wx, *numbers[3:], 4, 1e-6))(numbers[2])
    assert np.isfinite(found) and np.isfinite(slope)


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_nothing_else_is_written_and_sigma_is_that_of_epsilon(size: float) -> None:
    # Every output matrix is 0: without the embedding the stream is 0, and so is the logit.
    params = random_params(TINY_EPS)
    params["embed"]["W_E"] = params["embed"]["W_E"] * size
    silent = {"W_O", "W_down"}
    params = jax.tree_util.tree_map_with_path(lambda at, v: v * 0 if at[-1].key in silent else v, params)
    trace = traced(TINY_EPS, params=params)
    shares = landed.attribute(trace, 1)
    assert shares.direct_effect is not None
    ratio = trace.sigma[-1] / TINY_EPS.norm_eps**0.5
    assert bool((jnp.abs(shares.direct_effect.embedding - shares.value) < 1e-6 * ratio).all())
    # Where σ/σ′ is so large that this says little, the effect as a group of one still has all its digits.
    alone = group_effect(trace, 1, group=write_group(TINY_EPS, [Write("embedding")]))
    np.testing.assert_allclose(alone.effect, shares.value, rtol=1e-6)


@pytest.mark.parametrize("times", [1.0, 1e3])
def test_grad_matches_finite_differences_on_both_sides(times: float, x64: None) -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), loud_params(TINY_EPS, "neuron", times))
    trace = traced(TINY_EPS, params=params)

    @jax.jit
    def effect(size: jax.Array) -> jax.Array:
        scaled = dataclasses.replace(trace, sown={**trace.sown, "neuron": trace.sown["neuron"] * size})
        found = landed.attribute(scaled, 1, against=2).direct_effect
        assert found is not None
        return found.neurons[0, 1, 3, 3] + found.heads[1, 1, 3, 0]

    slope, step = jax.grad(effect)(1.0), 1e-7
    np.testing.assert_allclose(slope, (effect(1 + step) - effect(1 - step)) / (2 * step), rtol=1e-4)


def test_sigma_mediated_is_effect_less_landed() -> None:
    shares = landed.attribute(traced(SMALL), 1)
    assert shares.direct_effect is not None
    for name in ("embedding", "heads", "neurons", "attn_bias", "mlp_bias"):
        mine, effect, part = (getattr(p, name) for p in (shares.sigma_mediated, shares.direct_effect, shares.landed))
        np.testing.assert_array_equal(mine, effect - part)
    with pytest.raises(landed.LandedError, match="effects=True"):
        _ = landed.attribute(traced(SMALL), 1, effects=False).sigma_mediated


@pytest.mark.parametrize(("kind", "hold"), [("head", stack_layers), ("neuron", dict)])
@pytest.mark.parametrize("times", [1e2, 3e3])
def test_a_write_that_is_nearly_all_of_what_an_output_norm_scales(kind: str, hold, times: float) -> None:
    config = dataclasses.replace(BOTH_NORMS, norm_eps=1e-5, logit_cap=None, output_bias=False, mlp_bias=False)
    params = loud_params(config, kind, times)
    trace = traced(config, params=hold(params))
    effects = landed.attribute(trace, 1).direct_effect
    assert effects is not None
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    u = np.asarray(params["embed"]["W_E"][1], np.float64)
    length, near = np.linalg.norm(u * numbers["gamma"][-1]) * config.d_model**0.5, 0
    out, index = f"{kind}_out", LOUD[kind][2]
    for b, p in real_positions(trace):
        written = every_write(numbers, config, b, p)
        error = np.abs(column(effects, b, p) - removed_effects(written, numbers, u, config, b, p)) / length
        parts = numbers[out][0, b, p]
        whole, rest = parts.sum(0), np.delete(parts, index, axis=0).sum(0)
        left = np.sqrt((np.mean(rest**2) + config.norm_eps) / (np.mean(whole**2) + config.norm_eps))
        near += left**2 < NEARLY_NOTHING_LEFT
        loud = written.names.index(LOUD[kind])
        assert error[loud] < 1e-6 / min(left, 1)
        assert np.delete(error, loud).max() < 1e-5
    assert near, "no part came near to being the whole output: this test would test nothing"
