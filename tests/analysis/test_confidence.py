"""Confidence effects against brute force (the write is exchanged in the stream, all is computed again), signatures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError
from landed_jax.analysis.attribution import (
    attribute_log_probability,
    confidence_effects,
    confidence_signature,
    weak_directions,
)
from landed_jax.testbed.planted import CONFIG, null_space_neuron
from tests.models import CONFIGS, EXPERTS, NAMES, SMALL, random_params
from tests.reference.numpy_model import numpy_forward
from tests.traces import real_positions, traced, unembedding

TARGET = 3


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def mean_activations(config: landed.ModelConfig) -> np.ndarray:
    experts = (config.n_experts,) if config.n_experts else ()
    return np.random.default_rng(1).normal(size=(config.n_layers, *experts, config.d_ff))


@pytest.mark.quick
@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("name", NAMES)
def test_brute_force(name: str, ablation: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, params=params)
    mean = None if ablation == "zero" else mean_activations(config)
    layers = range(config.n_layers)
    found = confidence_effects(trace, TARGET, layers=layers, mean=None if mean is None else jnp.asarray(mean))
    ref, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config), unembedding(params, config)

    def seen(x: np.ndarray) -> np.ndarray:
        return x - x.mean() if config.norm == "layer" else x

    def sigma(x: np.ndarray) -> float:
        return np.sqrt(np.mean(seen(x) ** 2) + config.norm_eps)

    def distribution(x: np.ndarray, scale: float) -> tuple[float, float]:
        """Entropy, and the target's log-probability."""
        logits = W_U @ (seen(x) / scale * ref["gamma"][-1] + ref["beta"][-1])
        log_p = log_softmax(
            logits if config.logit_cap is None else config.logit_cap * np.tanh(logits / config.logit_cap)
        )
        return -float(np.exp(log_p) @ log_p), float(log_p[TARGET])

    for b, p in real_positions(trace):
        x = ref["residual"][-1, b, p]
        whole = distribution(x, sigma(x))
        np.testing.assert_allclose(found.value[b, p], whole[0], atol=1e-10)
        for layer in layers:
            for j in range(config.n_neurons):
                write = ref["neuron_write"][layer, b, p, j]
                if mean is not None:
                    place = (int(ref["expert"][layer, b, p, j // config.d_ff]),) if config.n_experts else ()
                    write = write * (1 - mean[(layer, *place, j % config.d_ff)] / ref["a"][layer, b, p, j])
                live, frozen = distribution(x - write, sigma(x - write)), distribution(x - write, sigma(x))
                expected = [whole[0] - live[0], whole[0] - frozen[0], whole[1] - live[1], whole[1] - frozen[1]]
                names = ("entropy", "entropy_frozen", "log_probability", "log_probability_frozen")
                mine = [getattr(found, name)[layer, b, p, j] for name in names]
                np.testing.assert_allclose(mine, expected, atol=1e-9, rtol=1e-9)


def test_it_is_what_the_exact_log_probability_says() -> None:
    trace = traced(SMALL)
    found, other = confidence_effects(trace, TARGET, layers=[0, 1]), attribute_log_probability(trace, TARGET)
    np.testing.assert_allclose(found.log_probability, other.direct_effect.neurons, atol=1e-5)
    np.testing.assert_allclose(found.entropy_mediated, found.entropy - found.entropy_frozen, atol=0)


def test_of_the_last_layer_it_is_the_total_effect_of_an_ablation() -> None:
    params = random_params(SMALL)
    trace = traced(SMALL, params=params)
    found = confidence_effects(trace, TARGET)
    assert found.layers == (SMALL.n_layers - 1,)
    without = landed.interventions.zero_neuron(SMALL.n_layers - 1, 4)
    logits, _ = landed.forward(params, trace.tokens, SMALL, interventions=without)
    lost = jax.nn.log_softmax(trace.logits)[..., TARGET] - jax.nn.log_softmax(logits)[..., TARGET]
    np.testing.assert_allclose(found.log_probability[0, ..., 4][trace.tokens.mask], lost[trace.tokens.mask], atol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 300.0])
def test_large_and_small_effects(factor: float) -> None:
    """Logits of any size: nothing overflows, and what is certain keeps its digits against float64."""
    params = random_params(SMALL)
    params = {**params, "unembed": {"W_U": params["unembed"]["W_U"] * factor}}
    found = confidence_effects(traced(SMALL, params=params), TARGET, layers=[0, 1])
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        expected = confidence_effects(traced(SMALL, params=wide), TARGET, layers=[0, 1])
    for name in ("entropy", "entropy_frozen", "log_probability", "log_probability_frozen"):
        mine, theirs = (np.asarray(getattr(part, name)) for part in (found, expected))
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * factor)


def test_what_acts_through_the_scale_alone_is_found_by_both() -> None:
    planted = null_space_neuron(neuron=9)
    trace = planted.trace()
    found = confidence_effects(trace)
    mediated = np.abs(np.asarray(found.entropy_mediated[0, 0, -1]))
    assert mediated.argmax() == 9 and mediated[9] > 3 * np.sort(mediated)[-2]
    assert float(found.entropy_frozen[0, 0, -1, 9]) == 0
    signature = confidence_signature(trace, weak_directions(trace, 4 / CONFIG.d_model))
    ratio = np.asarray(signature.logit_variance[-1, 0, 0])
    assert ratio.argmin() == 9 and float(signature.weak[-1, 0, 0, 9]) > 0.999


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_of_the_columns_alone(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, params=params)
    directions = weak_directions(trace, 0.3)
    found = confidence_signature(trace, directions)
    ref, W_U = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config), unembedding(params, config)
    weak = np.asarray(directions.directions[: int(directions.count)])
    b, p = real_positions(trace)[-1]
    for layer in range(config.n_layers):
        for j in range(config.n_neurons):
            # A write is its column times a number, which an output norm's gain stands between.
            column = ref["neuron_write"][layer, b, p, j] * ref["gamma"][-1]
            if config.norm == "layer":
                write = ref["neuron_write"][layer, b, p, j]
                column = (write - write.mean()) * ref["gamma"][-1]
            unit = column / np.linalg.norm(column)
            place = (layer, min(b, found.norm.shape[1] - 1), min(p, found.norm.shape[2] - 1), j)
            np.testing.assert_allclose(found.logit_variance[place], np.var(W_U @ unit), rtol=1e-6)
            np.testing.assert_allclose(found.weak[place], np.sum((weak @ unit) ** 2), atol=1e-8)


def test_bad_questions_are_refused() -> None:
    trace = traced(SMALL)
    with pytest.raises(LandedError, match="one token's"):
        confidence_effects(trace, landed.Logit(3, against=4))
    with pytest.raises(LandedError, match="no layer 2"):
        confidence_effects(trace, 3, layers=[2])
    with pytest.raises(LandedError, match="at least one layer"):
        confidence_effects(trace, 3, layers=[])
    with pytest.raises(LandedError, match=r"\[2, 10\]"):
        confidence_effects(trace, 3, mean=jnp.zeros((10,)))
    with pytest.raises(LandedError, match=r"\[2, 5, 6\]"):
        confidence_effects(traced(EXPERTS), 3, mean=jnp.zeros((2, 6)))


def test_bfloat16_weights_are_those_numbers() -> None:
    half = random_params(SMALL, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    mine, theirs = (confidence_effects(traced(SMALL, params=params), TARGET) for params in (half, wide))
    np.testing.assert_allclose(mine.entropy, theirs.entropy, atol=1e-5)
    assert dataclasses.replace(mine, provenance=None).entropy.dtype == jnp.float32
