"""Statistics that accumulate are those of all samples at once, in any order and after any merge."""

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landed_jax.errors import LandedError
from landed_jax.studies import (
    Kind,
    Largest,
    Moments,
    QuantileSketch,
    Statistic,
    share_interval,
    student_interval,
)
from landed_jax.studies._quantiles import ACCURACY, LARGEST, SMALLEST

KIND = Kind(("layer",), above=(0.5,), top=3)
seeds = st.integers(0, 2**32 - 1)


def samples_of(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples over many sizes, with both signs, zeros and ties; the prompts that they are of; which of them count."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 2)) * 10.0 ** random.integers(-6, 6, (count, 2)) + random.choice([0.0, 1e4])
    values[random.random(values.shape) < 0.1] = 0
    values[random.random(values.shape) < 0.1] = 2.5
    return values, random.permutation(count), random.random(values.shape) < 0.8


def accumulated(values: np.ndarray, prompts: np.ndarray, where: np.ndarray, order: np.ndarray, cuts: list[int]) -> Any:
    parts = [Statistic.of(KIND, values[rows], prompts[rows], where[rows]) for rows in np.split(order, cuts)]
    return functools.reduce(Statistic.merged, parts, Statistic.empty(KIND, (2,)))


@pytest.mark.quick
@given(seeds, st.integers(1, 60), st.lists(st.integers(0, 60), max_size=6))
def test_any_order_and_any_batches_give_numpys_numbers(seed: int, count: int, cuts: list[int]) -> None:
    values, prompts, where = samples_of(seed, count)
    cuts = sorted(min(cut, count) for cut in cuts)
    order = np.random.default_rng(seed + 1).permutation(count)
    found = accumulated(values, prompts, where, order, cuts)
    for cell in range(2):
        chosen = values[where[:, cell], cell]
        assert found.moments.count[cell] == len(chosen) and found.above[cell, 0] == (chosen > 0.5).sum()
        assert found.quantiles.counts[cell].sum() == len(chosen)
        if not len(chosen):
            assert np.isnan(found.moments.mean[cell]) and np.isnan(found.quantiles.quantile(0.5)[cell])
            continue
        scale = np.abs(chosen).max() + 1e-300
        assert abs(found.moments.mean[cell] - chosen.mean()) <= 1e-13 * scale
        assert found.moments.minimum[cell] == chosen.min() and found.moments.maximum[cell] == chosen.max()
        if len(chosen) > 1:
            assert abs(found.moments.variance[cell] - chosen.var(ddof=1)) <= 1e-12 * scale**2
        size = np.lexsort((prompts[where[:, cell]], -np.abs(chosen)))[:3]
        assert found.largest.values[cell][: len(size)].tolist() == chosen[size].tolist()
        assert found.largest.prompts[cell][: len(size)].tolist() == prompts[where[:, cell]][size].tolist()


@given(seeds, st.integers(1, 60), st.integers(0, 60))
def test_counts_do_not_depend_on_the_order_and_nothing_on_how_it_is_stored(seed: int, count: int, cut: int) -> None:
    values, prompts, where = samples_of(seed, count)
    order = np.random.default_rng(seed + 1).permutation(count)
    one = accumulated(values, prompts, where, order, [min(cut, count)])
    other = accumulated(values, prompts, where, np.arange(count), [])
    for name in ("values", "prompts", "places"):
        np.testing.assert_array_equal(getattr(one.largest, name), getattr(other.largest, name))
    np.testing.assert_array_equal(one.quantiles.counts, other.quantiles.counts)
    np.testing.assert_array_equal(one.above, other.above)
    again = Statistic.restored(KIND, (2,), one.arrays())
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, one.arrays()[name])


@given(seeds, st.integers(1, 200), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantiles_are_within_their_bound(seed: int, count: int, asked: list[float]) -> None:
    values = samples_of(seed, count)[0][:, 0]
    found = QuantileSketch.of(values).quantile(asked)
    exact = np.quantile(values, asked, method="lower")
    small = np.abs(exact) < SMALLEST
    np.testing.assert_array_less(np.abs(found - exact)[~small], ACCURACY * (1 + 1e-9) * np.abs(exact)[~small] + 1e-300)
    assert not found[small].any()


def test_samples_beyond_the_buckets_are_known_to_be_there() -> None:
    sketch = QuantileSketch.of(np.array([-1e30, SMALLEST / 2, 1e30]))
    low, middle, high = sketch.quantile([0, 0.5, 1])
    assert middle == 0 and low == -high and abs(high - LARGEST) <= ACCURACY * LARGEST * (1 + 1e-9)


def test_variance_keeps_its_digits_far_from_zero() -> None:
    values = 1e9 + np.arange(1000.0)
    found = functools.reduce(Moments.merged, (Moments.of(part) for part in np.split(values, 10)))
    np.testing.assert_allclose(found.variance, np.var(np.arange(1000.0), ddof=1), rtol=1e-12)


def test_classes_are_kept_apart() -> None:
    random = np.random.default_rng(0)
    values, classes = random.normal(size=(50, 2)), random.integers(0, 3, 50)
    members = np.arange(3)[:, None] == classes
    kind = Kind(("site",), by_position=True, above=(0.0,), top=2)
    found = Statistic.by_class(kind, values, np.arange(50), members)
    assert found.moments.mean.shape == (2, 3) and found.largest is not None and found.above is not None
    assert found.quantiles is not None
    for place, member in enumerate(members):
        alone = Statistic.of(kind, values[member], np.arange(50)[member])
        assert alone.largest is not None and alone.above is not None and alone.quantiles is not None
        np.testing.assert_array_equal(found.moments.mean[:, place], alone.moments.mean)
        np.testing.assert_array_equal(found.largest.prompts[:, place], alone.largest.prompts)
        np.testing.assert_array_equal(found.above[:, place], alone.above)
        np.testing.assert_array_equal(found.quantiles.counts[:, place], alone.quantiles.counts)


def test_equal_sizes_go_by_prompt_and_then_by_place() -> None:
    found = Largest.of(np.array([1.0, -1.0, 1.0]), np.array([4, 2, 2]), 3, places=np.array([0, 9, 5]))
    assert found.prompts.tolist() == [2, 2, 4] and found.places.tolist() == [5, 9, 0]


@pytest.mark.slow
def test_intervals_have_their_coverage() -> None:
    """Of 2,000 simulated studies, so that a coverage of 95 % is seen to within 1.5 points."""
    random, trials = np.random.default_rng(0), 2000
    draws = random.exponential(size=(400, trials))
    low, high = student_interval(Moments.of(draws))
    assert abs(np.mean((low < 1) & (high > 1)) - 0.95) < 0.015
    true = random.binomial(30, 0.2, trials)
    low, high = share_interval(true, np.full(trials, 30))
    assert np.mean((low <= 0.2) & (high >= 0.2)) >= 0.95 - 0.005  # exact intervals cover at least as much


def test_a_level_is_a_share() -> None:
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(LandedError, match="between 0 and 1"):
            student_interval(Moments.of(np.arange(3.0)), level)
