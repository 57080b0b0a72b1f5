"""Scores of patterns against loops over queries and sources, and of planted patterns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.intervals import mean_intervals
from landed_jax.roles import head_scores, pattern_scores, repeated_sequences
from landed_jax.testbed.planted import copying_head
from landed_jax.tokens import Tokens
from tests.models import CONFIGS, NAMES, SMALL, random_params


def loops(pattern: np.ndarray, ids: list[int]) -> dict[str, np.ndarray]:
    """``[layer, head]`` of one prompt without padding, by the definitions."""
    sources = {
        "previous_token": lambda q: [q - 1] if q else [],
        "duplicate_token": lambda q: [k for k in range(q) if ids[k] == ids[q]],
        "induction": lambda q: [k for k in range(1, q) if ids[k - 1] == ids[q]],
    }
    found = {}
    for name, of in sources.items():
        weights = [sum(pattern[:, :, q, k] for k in of(q)) for q in range(len(ids)) if of(q)]
        found[name] = np.mean(weights, axis=0) if weights else np.zeros(pattern.shape[:2])
    return found


@pytest.mark.quick
def test_scores_are_those_of_loops_whatever_stands_beside_a_prompt() -> None:
    random = np.random.default_rng(0)
    prompts = [[3, 5, 3, 5, 5, 1], [2, 2, 2], [7]]
    tokens = Tokens.from_lists(prompts)
    pattern = random.uniform(size=(2, 3, 4, 6, 6)).astype(np.float32)  # padding holds numbers too
    found = pattern_scores(jnp.asarray(pattern), tokens)
    for row, ids in enumerate(prompts):
        n = len(ids)
        for name, expected in loops(pattern[:, row, :, -n:, -n:], ids).items():
            np.testing.assert_allclose(getattr(found, name)[:, :, row], expected, rtol=1e-5, err_msg=name)
    mapped = jax.vmap(pattern_scores, in_axes=(0, None))(jnp.asarray(pattern)[None], tokens)
    np.testing.assert_allclose(mapped.induction[0], found.induction, rtol=1e-6)


# The windowed kind was made for three tokens.
@pytest.mark.filterwarnings("ignore:the prompt has:landed_jax.prompts.PromptWarning")
@pytest.mark.parametrize("name", NAMES)
def test_head_scores_of_every_kind_of_model_are_those_of_its_pattern(name: str) -> None:
    config = CONFIGS[name]
    model = landed.Model(config, random_params(config))
    found = head_scores(model, sequences=9, length=4, copied=2, top=2, seed=3)
    ids = np.asarray(found.tokens.ids)
    assert ids.shape == (9, 8) and (ids[:, :4] == ids[:, 4:]).all()
    for row in (0, 8):
        trace = model.trace([ids[row].tolist()], record=landed.WRITES | landed.SOURCES)
        expected = loops(np.asarray(trace[landed.HookPoint.PATTERN][:, 0]), ids[row].tolist())
        for score, values in expected.items():
            np.testing.assert_allclose(getattr(found, score)[:, :, row], values, atol=1e-5, err_msg=score)
        ranks = landed.attribution.copying(trace)
        columns = [0, 3]
        np.testing.assert_allclose(found.copying[:, :, row], ranks.copied(2)[:, 0, columns].mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(
            found.suppression[:, :, row], ranks.suppressed(2)[:, 0, columns].mean(axis=1), atol=1e-6
        )
    row = found.top(1, "duplicate_token")[0]
    assert row.duplicate_token == found.mean("duplicate_token").max() and row.low <= row.duplicate_token <= row.high
    assert set(found.to_xarray().induction.dims) == {"layer", "head", "sequence"}


def test_the_planted_head_copies() -> None:
    planted = copying_head(layer=1, head=2)
    marked = np.flatnonzero(np.asarray(planted.params["embed"]["W_E"][:, 1]) > 1)
    model = landed.Model(planted.config, planted.params)
    scores = head_scores(model, sequences=8, length=6, pool=marked.tolist(), copied=3, top=1)
    first = scores.top(1, "copying")[0]
    assert (first.layer, first.head, first.copying) == (1, 2, 1.0)


def test_sequences_are_repeated_and_the_same_for_a_seed() -> None:
    model = landed.load()

    def make(seed: int) -> list[list[int]]:
        return repeated_sequences(model.config, model.vocabulary, 3, 5, seed=seed)

    assert make(1) == make(1) != make(2)
    for ids in make(1):
        assert ids[:1] == model.vocabulary.encode("") and ids[1:6] == ids[6:] and len(set(ids[1:6])) == 5
        assert not set(ids[1:]) & set(model.vocabulary.special_ids)


def test_the_bundled_models_induction_heads_are_named_and_follow_previous_token_heads() -> None:
    from landed_jax.testbed.language import TASKS

    model = landed.load()
    pool = [model.vocabulary.token_id(f" {word}") for word in sorted(TASKS["induction"].words - {"."})]
    scores = head_scores(model, sequences=8, length=8, pool=pool)
    induction = np.argwhere(scores.mean("induction") > 0.5)
    assert len(induction) >= 1
    previous = np.argwhere(scores.mean("previous_token") > 0.5)
    assert previous[:, 0].min() < induction[:, 0].min()  # the two of Olsson et al.: one in an earlier layer
    low, _ = scores.interval("induction")
    others = np.delete(scores.mean("induction").ravel(), np.ravel_multi_index(tuple(induction.T), low.shape))
    assert low[tuple(induction.T)].min() > 2 * others.max()


def test_an_interval_holds_the_mean_and_shrinks() -> None:
    random = np.random.default_rng(0)
    few, many = random.normal(1, 1, 20), random.normal(1, 1, 2000)
    (low, high), (lower, higher) = mean_intervals(few), mean_intervals(many)
    assert low < few.mean() < high and high - low > 5 * (higher - lower)
    # Of many the normal approximation holds.
    np.testing.assert_allclose(higher - lower, 2 * 1.96 * many.std() / 2000**0.5, rtol=0.1)
    stacked = mean_intervals(np.stack([few, few + 1]))
    np.testing.assert_allclose(stacked[0][1] - stacked[0][0], 1)  # the same resamples


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"length": 14}, "cannot be drawn from 13"),
        ({"pool": [1, 99]}, "no token 99"),
        ({"length": 1}, "at least two tokens"),
        ({"length": 4, "copied": 5}, "1 to 4 tokens"),
    ],
)
def test_bad_input_is_a_sentence(arguments: dict, says: str) -> None:
    with pytest.raises(LandedError, match=says):
        head_scores(landed.Model(SMALL, random_params(SMALL)), **{"sequences": 2, **arguments})
    with pytest.raises(LandedError, match="no score"):
        head_scores(landed.Model(SMALL, random_params(SMALL)), sequences=2, length=4).top(1, "beauty")
