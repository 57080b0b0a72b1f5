"""Coordinates and amplification against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax import Coordinates
from tests.models import SMALL, random_params, random_tokens

numbers = st.floats(-100, 100, width=32)


@given(st.lists(numbers, min_size=1, max_size=8), st.sampled_from([0.5, 0.9, 0.99]))
def test_count_is_the_first_to_reach(values: list[float], fraction: float) -> None:
    contributions = np.array(values, np.float32)
    value = contributions.sum(dtype=np.float32)
    order = np.argsort(-np.abs(contributions), kind="stable")
    sums = np.concatenate([[0], np.cumsum(contributions[order], dtype=np.float32)])
    reached = [n for n, s in enumerate(sums) if s * np.sign(value) >= np.float32(fraction) * abs(value)]
    counted = Coordinates(jnp.asarray(contributions)[None, None], jnp.asarray(value)[None, None]).count(fraction)
    assert int(counted[0, 0]) == (reached[0] if reached else len(values))


def test_contributions_sum_to_the_logit() -> None:
    params = random_params(SMALL)
    logits, trace = jax.jit(landed.forward, static_argnums=2)(params, random_tokens(SMALL), SMALL)
    found = landed.coordinates(trace.bind(params), target=3, against=1)
    np.testing.assert_allclose(found.contributions.sum(-1), logits[..., 3] - logits[..., 1], atol=1e-5)
    many = jax.vmap(lambda t: landed.coordinates(trace.bind(params), target=t).count(0.9))(jnp.arange(4))
    one = landed.coordinates(trace.bind(params), target=2).count(0.9)
    np.testing.assert_array_equal(many[2], one)
    np.testing.assert_array_equal(
        jax.jit(lambda t: landed.coordinates(t, target=2).count(0.9))(trace.bind(params)), one
    )


def test_amplification_is_gamma_over_sigma() -> None:
    params = random_params(SMALL)
    _, trace = jax.jit(landed.forward, static_argnums=2)(params, random_tokens(SMALL), SMALL)
    scale = landed.amplification(trace)
    expected = np.abs(trace.gamma)[:, None, None] / np.asarray(trace.sigma)[..., None]
    for statistic, function in (("minimum", np.min), ("median", np.median), ("maximum", np.max)):
        np.testing.assert_allclose(getattr(scale, statistic), function(expected, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(scale.by_coordinate(2), expected[2], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(landed.amplification)(trace).median, scale.median, rtol=1e-6)
