"""Outlier coordinates against NumPy."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, LandedError, Trace
from landed_jax.analysis.basis._outliers import outliers
from tests.coordinates import run, settled, traced
from tests.models import SMALL, random_params, random_tokens

RECORD = WRITES | RESIDUALS


@cache
def with_an_outlier() -> Trace:
    """Coordinate 3 is hundred times too large in the stream, and γ makes it smaller than all others."""
    params = random_params(SMALL)
    params["embed"]["W_E"] = params["embed"]["W_E"].at[:, 3].set(100.0)
    params["final_norm"]["gamma"] = jnp.ones(SMALL.d_model).at[3].set(1e-4)
    _, trace = run(params, random_tokens(SMALL), SMALL, record=RECORD)
    return trace.bind(params)


def test_an_outlier_of_the_stream_may_not_be_one_where_it_lands() -> None:
    trace = with_an_outlier()
    expected = np.zeros((2, 5, SMALL.d_model), bool)
    expected[..., 3] = True
    np.testing.assert_array_equal(outliers(trace, 1).outlying, expected)
    np.testing.assert_array_equal(outliers(trace, 1).number, 1)
    np.testing.assert_array_equal(outliers(trace, 1, stream="landed").number, 0)


@pytest.mark.parametrize("stream", ["residual", "landed"])
@pytest.mark.parametrize("multiple", [1.5, 3.0])
def test_outliers_are_counted_apart(stream: str, multiple: float) -> None:
    trace = traced("small")
    found = jax.jit(partial(outliers, multiple=multiple, stream=stream))(trace, landed.Logit(1, against=0))
    x = np.abs(trace[landed.HookPoint(f"final_{'normed' if stream == 'landed' else 'residual'}")])
    outlying = x > multiple * np.median(x, axis=-1, keepdims=True)
    assert outlying.any() and not outlying.all()
    np.testing.assert_array_equal(found.outlying, outlying)
    np.testing.assert_allclose(found.size, x / np.median(x, axis=-1, keepdims=True), rtol=1e-5)
    parts = np.asarray(landed.coordinates(trace, landed.Logit(1, against=0)).contributions)
    np.testing.assert_allclose(found.contribution, (parts * outlying).sum(-1), atol=1e-5)
    np.testing.assert_allclose(found.without.value + found.contribution, found.everything.value, atol=1e-5)
    for fraction in (0.5, 0.9):
        for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
            others = parts[b, p][~outlying[b, p]]
            expected = settled(list(others), float(found.without.value[b, p]), fraction)
            assert int(found.without.settled_count(fraction)[b, p]) == expected
        np.testing.assert_array_equal(
            found.everything.count(fraction), landed.coordinates(trace, landed.Logit(1, against=0)).count(fraction)
        )


def test_a_stream_that_is_mostly_zero_has_infinite_outliers() -> None:
    params = jax.tree.map(lambda leaf: leaf * 0, random_params(SMALL))
    params["embed"]["W_E"] = params["embed"]["W_E"].at[:, 2].set(1.0)
    _, trace = run(params, random_tokens(SMALL), SMALL, record=RECORD)
    found = outliers(trace.bind(params), 1)
    assert np.isinf(found.size[..., 2]).all() and (np.asarray(found.size).sum(-1, where=np.arange(12) != 2) == 0).all()
    np.testing.assert_array_equal(found.number, 1)


def test_without_at_another_norm_leaves_out_the_offset_too() -> None:
    trace = traced("biased")
    read = landed.resolve(trace, landed.Neuron(1, 3, "gate"))
    found = outliers(trace, read, multiple=1.5)
    assert bool(found.outlying.any()) and float(jnp.abs(read.offset)[0, 0]) > 1e-3
    np.testing.assert_allclose(found.contribution + found.without.value + read.offset, read.value, atol=1e-5)
    size = np.abs(trace.residual[3])
    np.testing.assert_array_equal(found.outlying, size > 1.5 * np.median(size, axis=-1, keepdims=True))


def test_the_slope_of_what_outliers_contribute_matches_finite_differences(x64: None) -> None:
    trace = traced("small", "float64")
    step = jnp.asarray(np.random.default_rng(0).standard_normal(trace[landed.HookPoint.FINAL_NORMED].shape))

    @jax.jit
    def value(h: float) -> jax.Array:
        moved = {**trace.sown, "final_normed": trace.sown["final_normed"] + h * step}
        part = outliers(dataclasses.replace(trace, sown=moved, logits=None), 4, multiple=1.5)
        return jnp.sum(part.contribution + part.without.value**2)

    slope = jax.grad(value)(0.0)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (value(1e-6) - value(-1e-6)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: outliers(t, 1, multiple=0.0), "above 0"),
        (lambda t: outliers(t, 1, stream="mlp"), "'residual' or the 'landed'"),
        (lambda t: outliers(dataclasses.replace(t, params=None), 1), "bind"),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[Trace], object], message: str) -> None:
    with pytest.raises(LandedError, match=message):
        call(traced("small"))
