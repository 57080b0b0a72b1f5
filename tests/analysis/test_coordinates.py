"""Coordinates and amplification against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.analysis.basis import Coordinates
from tests.coordinates import settled
from tests.models import SMALL, random_params, random_tokens

# Sums of these are 0 or normal numbers: XLA on CPU takes subnormal ones for 0.
sizes = st.floats(2**-60, 100, width=32)
numbers = st.just(0.0) | sizes | sizes.map(lambda size: -size)
whole_numbers = st.lists(st.integers(-50, 50), min_size=1, max_size=8)
# Exact in binary, so that sums of whole numbers meet them without rounding.
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.875, 1.0)


@given(st.lists(numbers, min_size=1, max_size=8), st.sampled_from([0.5, 0.9, 0.99]))
def test_count_is_the_first_to_reach(values: list[float], fraction: float) -> None:
    contributions = np.array(values, np.float32)
    value = contributions.sum(dtype=np.float32)
    order = np.argsort(-np.abs(contributions), kind="stable")
    sums = np.concatenate([[0], np.cumsum(contributions[order], dtype=np.float32)])
    reached = [n for n, s in enumerate(sums) if s * np.sign(value) >= np.float32(fraction) * abs(value)]
    counted = Coordinates(jnp.asarray(contributions)[None, None], jnp.asarray(value)[None, None]).count(fraction)
    assert int(counted[0, 0]) == (reached[0] if reached else len(values))


@pytest.mark.quick
def test_contributions_sum_to_the_logit() -> None:
    params = random_params(SMALL)
    logits, trace = jax.jit(landed.forward, static_argnums=2)(params, random_tokens(SMALL), SMALL)
    found = landed.coordinates(trace.bind(params), landed.Logit(3, against=1))
    np.testing.assert_allclose(found.contributions.sum(-1), logits[..., 3] - logits[..., 1], atol=1e-5)
    many = jax.vmap(lambda t: landed.coordinates(trace.bind(params), t).count(0.9))(jnp.arange(4))
    one = landed.coordinates(trace.bind(params), 2).count(0.9)
    np.testing.assert_array_equal(many[2], one)
    np.testing.assert_array_equal(jax.jit(lambda t: landed.coordinates(t, 2).count(0.9))(trace.bind(params)), one)


@pytest.mark.quick
def test_amplification_is_gamma_over_sigma() -> None:
    params = random_params(SMALL)
    _, trace = jax.jit(landed.forward, static_argnums=2)(params, random_tokens(SMALL), SMALL)
    scale = landed.amplification(trace)
    expected = np.abs(trace.gamma)[:, None, None] / np.asarray(trace.sigma)[..., None]
    for statistic, function in (("minimum", np.min), ("median", np.median), ("maximum", np.max)):
        np.testing.assert_allclose(getattr(scale, statistic), function(expected, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(scale.by_coordinate(2), expected[2], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(landed.amplification)(trace).median, scale.median, rtol=1e-6)


def carried(contributions: list[int] | np.ndarray, value: float) -> Coordinates:
    return Coordinates(jnp.asarray(contributions, jnp.float32)[None, None], jnp.full((1, 1), float(value)))


@given(whole_numbers, st.sampled_from(FRACTIONS), st.none() | st.integers(-9, 9))
def test_settled_count_is_its_definition(values: list[int], fraction: float, given_value: int | None) -> None:
    value = sum(values) if given_value is None else given_value
    assert int(carried(values, value).settled_count(fraction)[0, 0]) == settled(values, value, fraction)


@given(whole_numbers)
def test_settled_count_never_falls_with_the_fraction_nor_below_the_first_to_reach(values: list[int]) -> None:
    found = carried(values, sum(values))
    counts = [int(found.settled_count(fraction)[0, 0]) for fraction in FRACTIONS]
    assert counts == sorted(counts)
    for fraction, count in zip(FRACTIONS, counts, strict=True):
        assert int(found.count(fraction)[0, 0]) <= count


@given(whole_numbers.filter(any), st.sampled_from(FRACTIONS), st.integers(1, 3))
def test_large_coordinates_that_cancel_are_waited_for(values: list[int], fraction: float, pairs: int) -> None:
    alone = carried(values, sum(values))
    large = [sign * 1000 * 2**n for n in range(pairs) for sign in (1, -1)]
    among = carried([*large, *values], sum(values))
    assert int(among.settled_count(fraction)[0, 0]) == int(alone.settled_count(fraction)[0, 0]) + 2 * pairs


def test_settled_count_refuses_what_is_no_part() -> None:
    for fraction in (-0.1, 1.1):
        with pytest.raises(LandedError, match="between 0 and 1"):
            carried([1], 1).settled_count(fraction)


@given(whole_numbers, st.integers(0, 9))
def test_largest_are_the_first_in_order(values: list[int], count: int) -> None:
    order = sorted(range(len(values)), key=lambda k: -abs(values[k]))
    expected = [k in order[:count] for k in range(len(values))]
    np.testing.assert_array_equal(carried(values, 1).largest(count)[0, 0], expected)
    np.testing.assert_array_equal(carried(values, 1).largest(jnp.full((1, 1), count))[0, 0], expected)
