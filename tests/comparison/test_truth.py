"""Measured effects against single interventions, evidence by hand, and a planted circuit."""

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.comparison import (
    LEVELS,
    Curve,
    correlation,
    evidence,
    head_effects,
    kept_counts,
    kept_values,
    neuron_effects,
    sampled,
    top_masks,
)
from landed_jax.comparison._baselines import baselines, means_of
from landed_jax.interventions import intervene, patch
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks import Pairs
from landed_jax.tokens import Tokens
from tests.comparison.pairs import planted_pairs, random_pairs
from tests.models import BIASED


def value_of(model: landed.Model, pairs: Pairs, interventions: object = ()) -> np.ndarray:
    question = pairs.question(model.params, model.config)
    return np.asarray(landed.resolve(model.trace(pairs.clean, interventions=interventions), question).value[:, -1])


@pytest.mark.quick
def test_effects_are_those_of_single_interventions() -> None:
    model, pairs = random_pairs(BIASED)
    corrupted, clean = model.trace(pairs.corrupted), value_of(model, pairs)
    zero, resample = (head_effects(model, pairs, ablation) for ablation in ("zero", "resample"))
    assert zero.shape == (2, 2, 3)
    for layer, head in [(0, 1), (1, 2)]:
        alone = clean - value_of(model, pairs, intervene("head", layers=layer, heads=head))
        np.testing.assert_allclose(zero[layer, :, head], alone, rtol=1e-4, atol=1e-5)
        alone = clean - value_of(model, pairs, patch(corrupted, "head", layers=layer, heads=head))
        np.testing.assert_allclose(resample[layer, :, head], alone, rtol=1e-4, atol=1e-5)
    neurons = np.array([[1, 3], [0, 6]])
    found = neuron_effects(model, pairs, neurons, "resample")
    for row, (layer, neuron) in enumerate(neurons.tolist()):
        alone = clean - value_of(model, pairs, patch(corrupted, "neuron", layers=layer, neurons=neuron))
        np.testing.assert_allclose(found[row], alone, rtol=1e-4, atol=1e-5)


def test_a_mean_ablation_of_one_prompt_twice_changes_what_varies_over_positions() -> None:
    model = landed.load()
    tokens = model.encode(["The Colosseum is in the city of"] * 2)
    pairs = Pairs(tokens, tokens, jnp.ones((2, 1), int), jnp.zeros((2, 1), int))
    means = means_of(model, [pairs], [HookPoint.HEAD])
    found = head_effects(model, pairs, "mean", means=means)
    value = means[HookPoint.HEAD].at(model.trace(tokens)).value
    alone = value_of(model, pairs) - value_of(model, pairs, intervene("head", "replace", value, layers=2, heads=7))
    np.testing.assert_allclose(found[2, :, 7], alone, rtol=1e-4, atol=1e-4)


def test_the_sample_has_the_largest_of_each_and_is_the_same_for_a_seed() -> None:
    random = np.random.default_rng(0)
    methods = [random.normal(size=(4, 50)) for _ in range(3)]
    found = sampled(methods, 40, seed=1)
    assert len({tuple(place) for place in found.tolist()}) == 40
    np.testing.assert_array_equal(found, sampled(methods, 40, seed=1))
    assert not np.array_equal(found, sampled(methods, 40, seed=2))
    for one in methods:
        largest = np.unravel_index(np.abs(one).argmax(), one.shape)
        assert tuple(map(int, largest)) in {tuple(place) for place in found[:3].tolist()}
    assert len(sampled(methods, 10**6)) == 200


def test_evidence_by_hand() -> None:
    """Two prompts, one padded: the evidence is the third column, and then the second."""
    clean = Tokens(jnp.array([[1, 2, 3, 4], [0, 7, 8, 9]]), jnp.array([[True] * 4, [False, True, True, True]]))
    corrupted = Tokens(jnp.array([[1, 2, 5, 4], [0, 7, 6, 9]]), clean.mask)
    pairs = Pairs(clean, corrupted, jnp.ones((2, 1), int), jnp.zeros((2, 1), int))
    found = evidence([np.array([[6.0, -1.0, -2.0, 1.0], [99.0, 1.0, 3.0, 0.0]])], [pairs])
    np.testing.assert_allclose(found.absolute, [2 / 10, 3 / 4])
    np.testing.assert_allclose(found.signed, [-2 / 4, 3 / 4])
    assert found.first.tolist() == [False, True] and found.first_but_start.tolist() == [True, True]
    nothing = evidence([np.zeros((2, 4))], [pairs])
    assert nothing.absolute.tolist() == [0, 0]


def test_of_a_planted_circuit_the_truth_is_best_and_its_reverse_worst() -> None:
    model, pairs, (layer, head) = planted_pairs()
    level = LEVELS["heads"]
    effects = head_effects(model, pairs, "resample")
    place = np.unravel_index(np.abs(effects.mean(axis=1)).argmax(), (3, 6))
    assert (int(place[0]), int(place[1])) == (layer, head)
    truth = effects.mean(axis=1)
    chance = np.random.default_rng(0).permutation(truth.ravel()).reshape(3, 6)
    baseline = baselines(model, pairs, level, "resample", {})
    fractions = (0.0, 1 / 18, 0.5, 1.0)
    areas, masks = {}, {}
    for name, scores in {"truth": truth, "reversed": -truth, "chance": chance}.items():
        masks[name] = top_masks(scores, kept_counts(18, fractions), absolute=False)
        kept = kept_values(model, pairs, level, masks[name], baseline)
        curve = Curve(np.array(fractions), kept_counts(18, fractions), kept, kept[-1], kept[0])
        assert curve.faithfulness[0] == 0 and curve.faithfulness[-1] == 1
        areas[name] = curve.cpr
    assert areas["truth"] > 0.95 and areas["truth"] > areas["chance"] > areas["reversed"]
    per_prompt = effects.swapaxes(0, 1).reshape(2, -1)
    np.testing.assert_allclose(correlation(per_prompt, per_prompt).pearson, 1)
