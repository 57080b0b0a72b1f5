"""Public claims: what is counted against NumPy, verdicts, and every claim on every kind of model."""

import jax
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.claims import Claim, Measured, Reading, claims, reproduce
from landed_jax.claims._prompts import default_prompts
from landed_jax.intervals import bootstrap
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from tests.models import CONFIGS, NAMES, SMALL, random_params

LISTS = [[1, 5, 7, 2], [3, 4], [6, 2, 9, 8, 1, 3]]


def model_of(config: landed.ModelConfig) -> Model:
    return Model(config, random_params(config, seed=3))


def value_of(found: landed.claims.Reproduction, reading: str) -> float:
    [one] = [one for one in found.measured if one.reading.name == reading]
    return one.value


@pytest.mark.quick
# The windowed kind was made for three tokens.
@pytest.mark.filterwarnings("ignore:the prompt has:landed_jax.prompts.PromptWarning")
@pytest.mark.parametrize("name", NAMES)
def test_every_claim_is_measured_on_every_kind_of_model(name: str) -> None:
    found = reproduce(model_of(CONFIGS[name]), LISTS)
    assert {one.claim.name for one in found.measured} == set(claims())
    for one in found.measured:
        assert one.prompts == len(LISTS)
        assert one.verdict.split(":")[0] in ("holds", "does not hold", "not decided", "does not apply")
        assert np.isnan(one.value) or one.low <= one.high


def test_shares_of_coordinates_and_of_norms_are_counted() -> None:
    model = model_of(SMALL)
    found = reproduce(model, LISTS, claims=["amplified writes"])
    coordinates, scales = [], []
    for ids in LISTS:
        trace = model.trace(np.array([ids]), record=landed.WRITES)
        sigma, gamma = np.asarray(trace.sigma, np.float64)[:, 0, 1:], np.abs(np.asarray(trace.gamma, np.float64))
        coordinates.append((gamma[:, None] / sigma[..., None]).ravel())
        scales.append((1 / sigma).ravel())
    for bound in (2, 10):
        expected = 100 * np.mean(np.concatenate(coordinates) > bound)
        assert value_of(found, f"above {bound} ×: |γ|/σ of every coordinate at every norm") == pytest.approx(expected)
        expected = 100 * np.mean(np.concatenate(scales) > bound)
        name = f"above {bound} ×: 1/σ at every norm (γ folded into the weights)"
        assert value_of(found, name) == pytest.approx(expected)


def test_shares_of_writes_are_counted() -> None:
    """Every write is built, and its length before and behind the next norm taken."""
    model = model_of(SMALL)
    found = reproduce(model, LISTS, claims=["amplified writes"])
    ratios: list[np.ndarray] = []
    for ids in LISTS:
        trace = model.trace(np.array([ids]))
        sigma, gamma = np.asarray(trace.sigma, np.float64)[:, 0], np.asarray(trace.gamma, np.float64)
        for layer in range(SMALL.n_layers):
            part = model.params["layers"][str(layer)]
            z, a = (np.asarray(trace[point][layer, 0], np.float64) for point in (HookPoint.HEAD, HookPoint.NEURON))
            heads = np.einsum("phe,mhe->phm", z, np.asarray(part["attn"]["W_O"], np.float64))
            neurons = a[..., None] * np.asarray(part["mlp"]["W_down"], np.float64).T[None]
            for writes, site in ((heads, 2 * layer + 1), (neurons, 2 * layer + 2)):
                length = np.linalg.norm(writes, axis=-1)
                heard = np.linalg.norm(writes * gamma[site], axis=-1) / sigma[site][:, None]
                ratios.append((heard / length)[1:].ravel())
    for bound in (2, 10):
        name = f"above {bound} ×: heads' and neurons' writes, length heard over length written"
        assert value_of(found, name) == pytest.approx(100 * np.mean(np.concatenate(ratios) > bound))


def test_the_order_and_the_batches_of_prompts_do_not_matter() -> None:
    chooser = np.random.default_rng(0)
    lists = [chooser.integers(1, SMALL.vocab_size, size=chooser.integers(2, 9)).tolist() for _ in range(40)]
    model = model_of(SMALL)
    found, turned = reproduce(model, lists), reproduce(model, lists[::-1])
    for one, other in zip(found.measured, turned.measured, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=2e-5, atol=1e-6)


def verdict(value: float, low: float, high: float, reason: str = "") -> str:
    reading = Reading("r", "1", "rows", np.mean, lambda number: number >= 1)
    claim = Claim("c", "s", "source", lambda model, trace: {}, lambda config: (reading,))
    return Measured(claim, reading, value, low, high, 5, reason).verdict


def test_verdicts() -> None:
    assert verdict(2, 1.5, 3) == "holds"
    assert verdict(0.5, 0.2, 0.9) == "does not hold"
    assert verdict(1.2, 0.8, 1.4) == "not decided"
    assert verdict(2, 1.5, 3, "it is about GPT-2") == "does not apply: it is about GPT-2"
    assert verdict(float("nan"), 1, 2).startswith("does not apply")


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    chooser, hits, rounds = np.random.default_rng(1), 0, 400
    for place in range(rounds):
        rows = chooser.exponential(size=60)
        low, high = bootstrap(rows, np.mean, seed=place, resamples=300)
        hits += low <= 1 <= high
    # Percentile intervals of 60 skewed samples cover about 93 %; 400 rounds scatter by 1.3 %.
    assert 0.89 <= hits / rounds <= 0.98


def test_the_bundled_model_is_asked_in_its_own_words_and_others_in_ordinary_ones() -> None:
    model = landed.load()
    assert model.vocabulary is not None
    for text in default_prompts(model, 20, seed=2):
        assert not model.vocabulary.unknown(text)


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(landed.LandedError, match="There is no claim 'none'"):
        reproduce(model_of(SMALL), LISTS, claims=["none"])
    with pytest.raises(landed.LandedError, match="no tokenizer"):
        reproduce(model_of(SMALL))


def test_float64_finds_the_same() -> None:
    model = model_of(SMALL)
    found = reproduce(model, LISTS, claims=["layers", "same scale"])
    with jax.enable_x64(True):
        precise = reproduce(model_of(SMALL), LISTS, claims=["layers", "same scale"])
    for one, other in zip(found.measured, precise.measured, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-3)


def test_prompts_of_one_token_leave_readings_without_a_value() -> None:
    found = reproduce(model_of(SMALL), [[3], [4]], claims=["layers", "one write", "same scale"])
    for one in found.measured:
        if "first tokens" not in one.reading.name:
            assert np.isnan(one.value) and one.verdict.startswith("does not apply")
    rows = found.to_dict()["readings"]
    assert any(row["value"] is None for row in rows) and not any(row["value"] != row["value"] for row in rows)
