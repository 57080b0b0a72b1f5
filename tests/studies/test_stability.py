"""How prompts vary: variances within and between, rank correlations, and the keep of them, beside brute force."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import landed_jax as landed
from landed_jax import NORMED, WRITES, LandedError, Tokens
from landed_jax.results.axes import POSITION_CLASSES
from landed_jax.studies import Groups, Kind, RankCorrelation
from landed_jax.studies._labels import statistic_arrays
from tests.models import CONFIGS
from tests.studies.runs import short_windows, tiny

seeds = st.integers(0, 2**32 - 1)


def groups_of(prompts: list[np.ndarray]) -> Groups:
    """Of each prompt's samples, NaN where it has none."""
    means = np.array([each.mean() if len(each) else np.nan for each in prompts])
    squares = np.array([np.square(each - each.mean()).sum() if len(each) else np.nan for each in prompts])
    return Groups.of(means, np.array([len(each) for each in prompts]), squares)


def mean_spearman(rows: Any) -> float:
    """Over all pairs of rows; NaN where there is none."""
    pairs: list[Any] = [stats.spearmanr(*pair) for pair in itertools.combinations(rows, 2)]
    return float(np.mean([pair.statistic for pair in pairs])) if pairs else float("nan")


def close(found: Any, expected: Any, scale: float = 1.0) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.quick
@given(seeds, st.integers(1, 25), st.lists(st.integers(0, 25), max_size=4))
def test_variances_within_and_between_are_those_of_all_samples(seed: int, count: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    levels = random.normal(size=count) * random.choice([0, 1, 100]) + random.choice([0, 1e3])
    prompts = [level + random.normal(size=random.integers(0, 5)) for level in levels]
    order = [prompts[place] for place in random.permutation(count)]
    parts = [order[a:b] for a, b in itertools.pairwise([0, *sorted(min(cut, count) for cut in cuts), count])]
    found = functools.reduce(Groups.merged, [groups_of(part) for part in parts if part], Groups.empty())
    there = [each for each in prompts if len(each)]
    samples = np.concatenate([np.empty(0), *there])
    assert found.samples == len(samples) and found.prompts == len(there)
    if not there:
        assert np.isnan([found.mean, found.variance_within, found.variance_between, found.intraclass]).all()
        return
    size = max(1.0, float(np.abs(samples).max()) ** 2)
    close(found.mean, samples.mean())
    close(found.within + found.between, np.square(samples - samples.mean()).sum(), size)
    free = len(samples) - len(there)
    within = sum(np.square(each - each.mean()).sum() for each in there) / free if free else np.nan
    close(found.variance_within, within, size)
    if len(there) > 1:
        lengths = np.array([len(each) for each in there])
        square = sum(len(each) * (each.mean() - samples.mean()) ** 2 for each in there) / (len(there) - 1)
        even = (lengths.sum() - np.square(lengths).sum() / lengths.sum()) / (len(there) - 1)
        close(found.variance_between, (square - (within if free else 0)) / even, size)


def test_planted_variances_are_found() -> None:
    """Levels of variance 4 and samples of variance 1 around them: 0.8 of the variance is between."""
    random = np.random.default_rng(0)
    found = groups_of([random.normal(20, 2) + random.normal(size=random.integers(2, 9)) for _ in range(4000)])
    assert abs(found.intraclass - 0.8) < 0.015
    assert abs(found.variation_between - 0.1) < 0.003 and abs(found.variation_within - 0.05) < 0.001


@pytest.mark.quick
@given(seeds, st.integers(0, 9), st.integers(0, 9), st.integers(2, 5))
def test_the_rank_correlation_is_the_mean_over_all_pairs(seed: int, count: int, cut: int, things: int) -> None:
    random = np.random.default_rng(seed)
    samples = np.where(random.random((count, 1)) < 0.2, 7.0, random.integers(0, 4, (count, things)) / 8)
    where = random.random((count, things)) < 0.95
    samples[~where] = np.nan
    parts = [RankCorrelation.of(samples[rows], where[rows]) for rows in np.split(random.permutation(count), [cut])]
    found = functools.reduce(RankCorrelation.merged, parts, RankCorrelation.empty((), things))
    whole = samples[where.all(axis=1)]
    ordered = [row for row in whole if np.ptp(row) > 0]
    assert found.prompts == len(ordered) and found.constant == len(whole) - len(ordered)
    close(found.mean, mean_spearman(ordered))


class Texts:
    """A tokenizer by which every third token is a delimiter."""

    def encode_all(self, texts: list[str], add_special_tokens: bool = True) -> list[list[int]]:
        return [[] for _ in texts]

    def text(self, token: int) -> str:
        return "a" if token % 3 else "."


@pytest.mark.quick
@pytest.mark.parametrize("name", ["layer_norm", "raw_reads"])
def test_the_keep_is_brute_force_over_all_prompts(name: str, monkeypatch: pytest.MonkeyPatch, x64: None) -> None:
    short_windows(monkeypatch)
    config, random = CONFIGS[name], np.random.default_rng(1)
    model: Any = dataclasses.replace(tiny(config), vocabulary=Texts())
    prompts = [random.integers(0, config.vocab_size, n).tolist() for n in (5, 2, 5, 5, 2, 5, 5)]
    found = landed.study(model, [*prompts[:3], [], *prompts[3:]], ("stability", "scale", "attribution"))
    inverse, heard = {}, {}  # by class, then prompt: [position, site], [position, site, coordinate]
    for ids in prompts:
        trace = model.trace(Tokens.from_lists([ids]), record=WRITES | NORMED)
        beta = 0 if trace.beta is None else np.asarray(trace.beta)[:, None]
        landed_stream = np.moveaxis(np.asarray(trace.normed)[:, 0] - beta, 0, 1)
        classes = np.array(["first", *("other" if token % 3 else "delimiter" for token in ids[1:])])
        for each in POSITION_CLASSES:
            inverse.setdefault(each, []).append(1 / np.asarray(trace.sigma)[:, 0].T[classes == each])
            heard.setdefault(each, []).append(landed_stream[classes == each])
    scale, stream, profile = (found.statistics[f"stability.{part}"] for part in ("inverse_sigma", "landed", "profile"))
    assert scale.groups is not None and stream.groups is not None and profile.ranks is not None
    mean_sigma = np.delete(found.rows["scale.mean_sigma"], 3, axis=0)
    for place, each in enumerate(POSITION_CLASSES):
        for number, positions in enumerate(inverse[each]):
            if len(positions):
                close(mean_sigma[number, :, place], (1 / positions).mean(axis=0))
        for site in range(len(scale.groups.mean)):
            expected = groups_of([positions[:, site] for positions in inverse[each]])
            mine = jax.tree.map(lambda part, cell=(site, place): part[cell], scale.groups)
            close(jax.tree.leaves(mine), jax.tree.leaves(expected))
            expected = groups_of([positions[:, site, 2] for positions in heard[each]])
            mine = jax.tree.map(lambda part, cell=(site, place, 2): part[cell], stream.groups)
            close(jax.tree.leaves(mine), jax.tree.leaves(expected))
            sizes = [np.abs(positions[:, site]).mean(axis=0) for positions in heard[each] if len(positions)]
            close(profile.ranks.mean[site, place], mean_spearman(sizes))
    # Signs and order of the heads, from the rows.
    rows = np.delete(found.rows["attribution.heads"], 3, axis=0).reshape(len(prompts), -1)
    arrays = {key: values for key, (_, values) in statistic_arrays(found.statistics).items()}
    close(arrays["attribution.heads.share_above"].ravel(), (rows > 0).mean(axis=0))
    close(arrays["attribution.heads.variation"].ravel(), rows.std(axis=0, ddof=1) / np.abs(rows.mean(axis=0)))
    close(arrays["attribution.heads.rank_correlation"], mean_spearman(rows))


def test_only_what_a_prompt_has_one_of_is_ranked() -> None:
    with pytest.raises(LandedError, match="one number a prompt"):
        Kind(("site",), by_position=True, ranked=("site",))
