"""Attribution patching: the slope of activation patching, exact where that is linear, complete along the path."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.interventions import Divergence, LogProbability, Rank, intervene, sweep
from landed_jax.nn.hook_points import HookPoint
from landed_jax.patching import activation_patching, attribution_patching
from landed_jax.testbed.planted import copying_head
from landed_jax.tokens import Tokens
from tests.models import CONFIGS, EXPERTS, NAMES, SMALL, random_params
from tests.patching.test_activation_patching import PARTS, TOKEN, close, model_of, two_prompts

SMALL_STEP = 1e-4


def slopes_by_hand(model: landed.Model, own: Tokens, other: Tokens, changes: Any, measure: Any) -> np.ndarray:
    """For each place the central difference of the measure along the other prompt's value less the own.

    Args:
        changes: hook points with places.
    """
    points = {HookPoint(point) for point, _ in changes}
    ours, theirs = (forward(model.params, side, model.config, record=points)[1] for side in (own, other))
    runs = [
        intervene(point, "add", sign * SMALL_STEP * (theirs[HookPoint(point)] - ours[HookPoint(point)]), **where)
        for sign in (1, -1)
        for point, where in changes
    ]
    up, down = np.split(np.asarray(sweep(model, own, runs, measure).value), 2)
    return (up - down) / (2 * SMALL_STEP)


@pytest.mark.quick
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_slope_of_a_small_patch(name: str, x64: None) -> None:
    config = CONFIGS[name]
    model, (clean, corrupted) = model_of(config, np.float64), two_prompts(config)
    layers = range(config.n_layers)
    cells = [(part, {"layers": layer, "positions": p}) for part in PARTS for layer in layers for p in range(5)]
    found = attribution_patching(model, clean, corrupted, TOKEN)
    expected = slopes_by_hand(model, corrupted, clean, cells, TOKEN)
    close(found.effect.reshape(expected.shape), expected, 1e-6)
    assert np.abs(found.effect).max() > 1e-3

    found = attribution_patching(model, clean, corrupted, LogProbability(TOKEN), components="heads", direction="noise")
    heads = [("head", {"layers": layer, "heads": head}) for layer in layers for head in range(config.n_heads)]
    expected = slopes_by_hand(model, clean, corrupted, heads, LogProbability(TOKEN))
    close(found.effect.reshape(expected.shape), expected, 1e-6)


def test_of_neurons(x64: None) -> None:
    model, (clean, corrupted) = model_of(SMALL, np.float64), two_prompts(SMALL)
    places = [(layer, index) for layer in (0, 1) for index in range(SMALL.d_ff)]
    found = attribution_patching(model, clean, corrupted, TOKEN, components=places)
    changes = [("neuron", {"layers": layer, "neurons": index}) for layer, index in places]
    close(found.effect, slopes_by_hand(model, corrupted, clean, changes, TOKEN), 1e-6)
    assert found.neurons == activation_patching(model, clean, corrupted, TOKEN, components=places).neurons


def test_of_neurons_of_experts(x64: None) -> None:
    """What is added to a neuron is its own expert's difference, wherever the other run chose that expert."""
    model, (clean, corrupted) = model_of(EXPERTS, np.float64), two_prompts(EXPERTS)
    points = HookPoint.NEURON, HookPoint.EXPERT
    traces = [forward(model.params, side, EXPERTS, record=points)[1] for side in (clean, corrupted)]
    a, chosen = (np.stack([np.asarray(trace[point]) for trace in traces]) for point in points)
    places = [(layer, expert, 2) for layer in (0, 1) for expert in range(5)]
    runs = []
    for sign in (1, -1):
        for layer, expert, index in places:
            change = np.zeros(a.shape[2:])
            for b, p, slot in np.argwhere(chosen[1, layer] == expert):
                same = np.flatnonzero(chosen[0, layer, b, p] == expert)
                there = a[0, layer, b, p, same[0] * EXPERTS.d_ff + index] if same.size else 0.0
                place = slot * EXPERTS.d_ff + index
                change[b, p, place] = sign * SMALL_STEP * (there - a[1, layer, b, p, place])
            runs.append(intervene("neuron", "add", change, layers=layer))
    up, down = np.split(np.asarray(sweep(model, corrupted, runs, TOKEN).value), 2)
    found = attribution_patching(model, clean, corrupted, TOKEN, components=places)
    close(found.effect, (up - down) / (2 * SMALL_STEP), 1e-6)
    assert np.abs(found.effect).max() > 1e-3


@pytest.mark.parametrize("steps", [None, 2])
def test_it_is_exact_where_the_measure_is_linear(steps: int | None, x64: None) -> None:
    """Behind the last block is a norm alone, and with so large an ε, which γ takes out again, its σ is constant."""
    config = dataclasses.replace(SMALL, norm_eps=1e14)

    def enlarged(path: Any, leaf: jax.Array) -> jax.Array:
        return leaf * 1e7 if path[-1].key == "gamma" else leaf

    params = jax.tree_util.tree_map_with_path(enlarged, random_params(config, dtype=np.float64))
    model, (clean, corrupted) = landed.Model(config, params), two_prompts(config)
    for direction in ("denoise", "noise"):
        how: dict[str, Any] = {"sites": ["mlp_write"], "direction": direction}
        exact = activation_patching(model, clean, corrupted, TOKEN, **how).effect[0, -1]
        found = attribution_patching(model, clean, corrupted, TOKEN, steps=steps, **how).effect[0, -1]
        scale = np.abs(exact).max()
        assert scale > 0 and np.abs(exact - found).max() < 1e-8 * scale


# The path of the model with output norms has sharp bends, which a few steps miss.
@pytest.mark.parametrize(
    ("name", "fewest"), [("small", 8), ("layer_norm", 8), pytest.param("both_norms", 32, marks=pytest.mark.slow)]
)
def test_along_the_path_the_first_stream_explains_all(name: str, fewest: int, x64: None) -> None:
    """Midpoints: with twice the steps a quarter of the error, once they follow the path."""
    config = CONFIGS[name]
    model, (clean, corrupted) = model_of(config, np.float64), two_prompts(config)
    errors = []
    for steps in (fewest, 2 * fewest, 4 * fewest):
        found = attribution_patching(model, clean, corrupted, TOKEN, sites=["attn_residual"], steps=steps)
        errors.append(np.abs(found.effect[0, 0].sum(0) - found.gap).max())
    assert errors[2] < 0.02 * np.abs(found.gap).max()
    assert errors[2] < errors[1] / 2 < errors[0] / 4


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_head_is_the_largest(seed: int) -> None:
    planted = copying_head(seed=seed)
    model, clean = landed.Model(planted.config, planted.params), planted.prompt
    corrupted = [planted.against if token == planted.target else token for token in clean]
    asked = landed.Logit(planted.target, against=planted.against)
    found = attribution_patching(model, [clean], [corrupted], asked, components="heads")  # pyright: ignore[reportArgumentType] # `against` is not None here
    assert np.unravel_index(np.abs(found.effect).argmax(), (3, 6)) == (1, 2)


def test_it_has_the_axes_of_activation_patching() -> None:
    model, (clean, corrupted) = model_of(SMALL), two_prompts(SMALL)
    for components in ("positions", "heads"):
        found, exact = (
            function(model, clean, corrupted, TOKEN, components=components)
            for function in (attribution_patching, activation_patching)
        )
        assert found.labels == exact.labels and found.effect.shape == exact.effect.shape
        assert found.method == "attribution patching"


@pytest.mark.parametrize(
    ("measure", "how", "says"),
    [
        (Rank(), {}, "rank has no derivative"),
        (Divergence(), {"direction": "noise"}, "its derivative is 0"),
        (TOKEN, {"steps": 0}, "no number of steps"),
        (TOKEN, {"steps": True}, "no number of steps"),
        (TOKEN, {"steps": 1.5}, "no number of steps"),
        (TOKEN, {"at": [0, 1]}, "at one column"),
    ],
)
def test_what_has_no_derivative(measure: Any, how: dict[str, Any], says: str) -> None:
    clean, corrupted = two_prompts(SMALL, (5,))
    with pytest.raises(LandedError, match=says):
        attribution_patching(model_of(SMALL), clean, corrupted, measure, **how)


def test_steps_are_any_whole_number() -> None:
    model, (clean, corrupted) = model_of(SMALL), two_prompts(SMALL, (5,))
    two, same = (attribution_patching(model, clean, corrupted, TOKEN, steps=steps) for steps in (2, np.int64(2)))  # pyright: ignore[reportArgumentType] # NumPy's too
    np.testing.assert_array_equal(two.effect, same.effect)


def test_experts_take_no_path() -> None:
    clean, corrupted = two_prompts(EXPERTS)
    with pytest.raises(LandedError, match="take no steps="):
        attribution_patching(model_of(EXPERTS), clean, corrupted, TOKEN, components=[(0, 1, 2)], steps=2)
