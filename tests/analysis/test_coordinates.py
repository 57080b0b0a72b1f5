"""Coordinates and amplification against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.analysis.basis import Coordinates
from tests.coordinates import in_order, settled
from tests.models import SMALL, random_params, random_tokens

# Sums of these are 0 or normal numbers: XLA on CPU takes subnormal ones for 0.
sizes = st.floats(2**-60, 100, width=32)
numbers = st.just(0.0) | sizes | sizes.map(lambda size: -size)
whole_numbers = st.lists(st.integers(-50, 50), min_size=1, max_size=8)
# Exact in binary, so that sums of whole numbers meet them without rounding.
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.875, 1.0)


def first(values: list[int], value: float, fraction: float) -> int:
    """The definition: how many, in order, until their sum first reaches the part of the value; all if none does."""
    ordered = in_order(values, value)
    reached = (sum(ordered[:n]) * np.sign(value) >= fraction * abs(value) for n in range(len(values) + 1))
    return next((n for n, there in enumerate(reached) if there), len(values))


@given(whole_numbers, st.sampled_from(FRACTIONS), st.none() | st.integers(-9, 9))
def test_count_is_the_first_to_reach(values: list[int], fraction: float, given_value: int | None) -> None:
    value = sum(values) if given_value is None else given_value
    assert int(carried(values, value).count(fraction)[0, 0]) == first(values, value, fraction)


@given(st.lists(numbers, min_size=1, max_size=8), st.sampled_from([0.5, 0.9, 0.99]))
def test_count_of_any_numbers_lies_within_the_stated_rounding(values: list[float], fraction: float) -> None:
    # Of sizes that lie on one side of a tie or the other beyond doubt, in float64.
    sizes = np.sort(np.abs(values))
    near = np.diff(sizes) / np.maximum(sizes[1:], 1e-300) / np.finfo(np.float32).eps
    assume(not ((near > 0) & (near < 16)).any())
    order = np.lexsort((np.array(values) * sum(values) < 0, -np.abs(values).astype(np.float32)))
    value, sums = sum(values), np.concatenate([[0], np.cumsum(np.array(values, np.float64)[order])])
    rounding = 4 * np.finfo(np.float32).eps * np.linalg.norm(values)

    def least(slack: float) -> int:
        reached = sums * np.sign(value) >= fraction * abs(value) - slack
        return int(np.argmax(reached)) if reached.any() else len(values)

    counted = int(Coordinates(jnp.asarray([[values]], jnp.float32), jnp.full((1, 1), value)).count(fraction)[0, 0])
    assert least(2 * rounding) <= counted <= least(rounding / 2)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8), st.sampled_from(FRACTIONS), st.data())
def test_ties_count_as_ties_whatever_rounding_and_order_make_of_them(
    values: list[int], fraction: float, data: st.DataObject
) -> None:
    # Each number, and the value, as rounding would leave it in float32: the counts are those of whole numbers.
    noise = data.draw(st.lists(st.floats(-1, 1), min_size=len(values) + 1, max_size=len(values) + 1))
    shuffled = data.draw(st.permutations(values))
    moved = 1 + np.finfo(np.float32).eps * np.array(noise)
    found = carried(np.pi * np.array(shuffled) * moved[1:], np.pi * sum(values) * moved[0])
    assert int(found.count(fraction)[0, 0]) == first(values, sum(values), fraction)
    assert int(found.settled_count(fraction)[0, 0]) == settled(values, sum(values), fraction)


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
    order = sorted(range(len(values)), key=lambda k: (-abs(values[k]), values[k] < 0))  # towards the value, which is 1
    expected = [k in order[:count] for k in range(len(values))]
    np.testing.assert_array_equal(carried(values, 1).largest(count)[0, 0], expected)
    np.testing.assert_array_equal(carried(values, 1).largest(jnp.full((1, 1), count))[0, 0], expected)
