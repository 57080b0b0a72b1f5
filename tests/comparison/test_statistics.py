"""Correlations against SciPy's, and bootstrap intervals that hold the truth as often as they say."""

import numpy as np
import pytest
import scipy.stats

from landed_jax.comparison import bootstrap, correlation
from landed_jax.comparison._correlation import ranks


@pytest.mark.quick
def test_correlations_are_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    effects = random.normal(size=(7, 40)).round(1)  # with equal ones
    scores = (effects + random.normal(size=effects.shape)).round(1)
    found = correlation(scores, effects)
    for row in range(7):
        np.testing.assert_allclose(found.pearson[row], scipy.stats.pearsonr(scores[row], effects[row])[0])
        np.testing.assert_allclose(found.spearman[row], scipy.stats.spearmanr(scores[row], effects[row])[0])
    np.testing.assert_allclose(found.pooled_pearson, scipy.stats.pearsonr(scores.ravel(), effects.ravel())[0])
    np.testing.assert_allclose(found.pooled_spearman, scipy.stats.spearmanr(scores.ravel(), effects.ravel())[0])
    np.testing.assert_array_equal(ranks(scores), scipy.stats.rankdata(scores, axis=1))


def test_the_truth_correlates_with_itself_and_chance_does_not() -> None:
    random = np.random.default_rng(1)
    effects = random.normal(size=(50, 300))
    itself, reverse, chance = (correlation(s, effects) for s in (effects, -effects, random.normal(size=effects.shape)))
    np.testing.assert_allclose([itself.pearson, itself.spearman, itself.overlap], 1, rtol=1e-12)
    np.testing.assert_allclose([reverse.pearson, reverse.spearman], -1, rtol=1e-12)
    np.testing.assert_array_equal(reverse.overlap, 1)  # by size
    # 50 · 300 pairs: a standard deviation of .008.
    assert abs(chance.pooled_pearson) < 0.04 and abs(chance.pearson.mean()) < 0.04
    # Ten of 300 drawn twice share a third of one.
    assert abs(chance.overlap.mean() - 10 / 300) < 0.03


def test_overlap_counts_the_largest_by_size() -> None:
    effects = np.array([[9.0, -8.0, 7.0, 0.0, 0.0, 1.0]])
    scores = np.array([[-5.0, 4.0, 0.0, 3.0, 0.0, 0.0]])
    np.testing.assert_allclose(correlation(scores, effects, top=3).overlap, 2 / 3)


def test_what_does_not_vary_has_no_correlation() -> None:
    found = correlation(np.zeros((2, 5)), np.arange(10.0).reshape(2, 5))
    assert found.pearson.tolist() == found.spearman.tolist() == [0, 0] and found.pooled_pearson == 0


def test_numbers_of_any_size() -> None:
    effects = np.arange(6.0).reshape(1, 6) ** 2
    for size in (1e-200, 1e200):
        np.testing.assert_allclose(correlation(effects * size, effects).pearson, 1)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of a mean, and of a ratio of means, as faithfulness is one."""
    random, held = np.random.default_rng(2), np.zeros(2)
    for seed in range(400):
        whole = 4 + random.exponential(size=60)
        part = whole * random.uniform(0.2, 1.0, size=60)
        for place, (of, truth) in enumerate([(lambda m: m[..., 0], 3.0), (lambda m: m[..., 0] / m[..., 1], 0.6)]):
            found = bootstrap(np.stack([part, whole]), of, draws=400, seed=seed)
            held[place] += found.low <= truth <= found.high
            assert found.low <= found.estimate <= found.high
    # 400 trials at 95 %: a standard deviation of 1.1 %; the percentile interval is a little narrow for 60 prompts.
    assert (held / 400 > 0.91).all() and (held / 400 < 0.985).all()


def test_intervals_repeat_for_a_seed_and_narrow_with_prompts() -> None:
    values = np.random.default_rng(3).normal(size=400)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)
    wide, narrow = (bootstrap(values[:count]) for count in (25, 400))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2
    single = bootstrap(np.array([2.5]))
    assert single == (2.5, 2.5, 2.5, 1000)


def test_draws_without_a_value_are_left_out_and_counted() -> None:
    """A ratio has no value where a draw is of the prompt with denominator 0 alone: one in four of two prompts."""

    def ratio(means: np.ndarray) -> np.ndarray:
        return np.where(means[..., 1] == 0, np.nan, means[..., 0] / np.where(means[..., 1] == 0, 1, means[..., 1]))

    found = bootstrap(np.array([[1.0, 2.0], [0.0, 1.0]]), ratio)
    assert abs(found.counted - 750) < 70  # a standard deviation of 14
    assert found.low == 2 and found.high == 3 == found.estimate
    nothing = bootstrap(np.zeros((2, 2)), ratio)
    assert nothing.counted == 0 and np.isnan([nothing.estimate, nothing.low, nothing.high]).all()
