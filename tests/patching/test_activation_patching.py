"""Activation patching against as many forward passes by hand, planted mechanisms, patches that do all or nothing."""

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.interventions import Divergence, LogProbability, Probability, Rank, every_layer_and_position, intervene
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import init_params, stack_layers
from landed_jax.patching import Patching, activation_patching, attribution_patching, heat_maps
from landed_jax.tasks import Pairs
from landed_jax.testbed.planted import copying_head, writing_neuron
from landed_jax.tokens import Tokens
from tests.compiling import compilations
from tests.models import CONFIGS, EXPERTS, FEW, NAMES, SMALL, random_params, random_tokens

TOKEN = 3
HELD = [
    pytest.param(name, direction, marks=() if name in FEW else pytest.mark.slow)
    for name, direction in zip(CONFIGS, itertools.cycle(("denoise", "noise")))
]
"""Every kind of model, in one of the two directions."""
PARTS = (HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE, HookPoint.ATTN_RESIDUAL)


def model_of(config: ModelConfig, dtype: Any = np.float32) -> landed.Model:
    return landed.Model(config, random_params(config, dtype=dtype))


def two_prompts(config: ModelConfig, lengths: tuple[int, ...] = (5, 3)) -> tuple[Tokens, Tokens]:
    """Of which every pair differs in its last token but one."""
    clean = random_tokens(config, lengths=lengths)
    ids = np.array(clean.ids)
    ids[:, -2] = (ids[:, -2] + 1) % config.vocab_size
    return clean, Tokens(jnp.asarray(ids), clean.mask)


def uncapped(logits: Any, config: ModelConfig) -> np.ndarray:
    """What a question reads."""
    logits = np.asarray(logits)
    return logits if config.logit_cap is None else config.logit_cap * np.arctanh(logits / config.logit_cap)


def by_hand(model: landed.Model, own: Tokens, other: Tokens, changes: Any, at: Any = -1) -> np.ndarray:
    """The logits of a run for each change, ``[run, batch, asked, vocab]``.

    Args:
        changes: hook points with places; the other prompt's whole value is looked up here.
    """
    points = {HookPoint(point) for point, _ in changes}
    values = forward(model.params, other, model.config, record=points)[1]

    @jax.jit
    def run(intervention: Any) -> jax.Array:
        return forward(model.params, own, model.config, record=(), at=at, interventions=intervention)[0]

    runs = [run(intervene(point, "replace", values[HookPoint(point)], **where)) for point, where in changes]
    return np.stack([np.asarray(found) for found in runs])


def close(found: Any, expected: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1.0))


@pytest.mark.quick
@pytest.mark.parametrize(("name", "direction"), HELD)
def test_every_cell_is_a_run_by_hand(name: str, direction: Any, x64: None) -> None:
    config = CONFIGS[name]
    model, (clean, corrupted) = model_of(config, np.float64), two_prompts(config)
    own, other = (corrupted, clean) if direction == "denoise" else (clean, corrupted)
    start = uncapped(forward(model.params, own, config, record=(), at=-1)[0], config)[..., TOKEN]

    found = activation_patching(model, clean, corrupted, TOKEN, direction=direction)
    cells = [
        (point, {"layers": layer, "positions": column})
        for point in PARTS
        for layer in range(config.n_layers)
        for column in range(5)
    ]
    values = uncapped(by_hand(model, own, other, cells), config)[..., TOKEN]
    assert found.effect.shape == (3, config.n_layers, 5, 2, 1)
    close(found.value.reshape(values.shape), values)
    close(found.start, start)
    assert np.abs(found.effect).max() > 1e-3
    assert (found.effect[:, :, :3] == 0).all()  # before the first token that differs nothing is run

    found = activation_patching(model, clean, corrupted, TOKEN, direction=direction, components="heads")
    heads = [
        ("head", {"layers": layer, "heads": head}) for layer in range(config.n_layers) for head in range(config.n_heads)
    ]
    values = uncapped(by_hand(model, own, other, heads), config)[..., TOKEN]
    close(found.value.reshape(values.shape), values)
    ends = [np.asarray(forward(model.params, side, config, record=(), at=-1)[0]) for side in (clean, corrupted)]
    ends = [uncapped(logits, config)[..., TOKEN] for logits in ends]
    close(found.recovered.reshape(values.shape), (values - ends[1]) / (ends[0] - ends[1]), 1e-10)
    close(found.fraction, np.asarray(found.recovered if direction == "denoise" else 1 - found.recovered), 1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_all_and_nothing(name: str, x64: None) -> None:
    """The first stream where the prompts differ carries all; where they do not, a patch is of the value itself."""
    config = CONFIGS[name]
    model, (clean, corrupted) = model_of(config, np.float64), two_prompts(config, (5,))
    for direction in ("denoise", "noise"):
        found = activation_patching(model, clean, corrupted, TOKEN, sites=["attn_residual"], direction=direction)
        first = np.asarray(found.fraction)[0, 0, :, 0, 0]
        close(first, np.array([0, 0, 0, 1, 0]), 1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_head_is_the_largest(seed: int) -> None:
    planted = copying_head(seed=seed)
    model, clean = landed.Model(planted.config, planted.params), planted.prompt
    assert planted.against is not None
    corrupted = [planted.against if token == planted.target else token for token in clean]
    asked = landed.Logit(planted.target, against=planted.against)
    heads = activation_patching(model, [clean], [corrupted], asked, components="heads")
    assert np.unravel_index(np.abs(heads.effect).argmax(), (3, 6)) == (1, 2)
    np.testing.assert_allclose(heads.recovered.max(), 1, atol=0.02)
    writes = activation_patching(model, [clean], [corrupted], asked, sites=PARTS[:2])
    assert np.unravel_index(np.abs(writes.effect).argmax(), writes.effect.shape)[:3] == (0, 1, 7)


def test_a_planted_neuron_is_the_largest() -> None:
    planted = writing_neuron(layer=1, neuron=5)
    model, clean = landed.Model(planted.config, planted.params), planted.prompt
    corrupted = [*clean[:-1], clean[0]]
    asked = landed.Logit(planted.target, against=planted.against)
    neurons = [(layer, index) for layer in range(3) for index in range(planted.config.d_ff)]
    found = activation_patching(model, [clean], [corrupted], asked, components=neurons)
    assert found.neurons[int(np.abs(found.effect).argmax())] == "1.5"
    alone = activation_patching(model, [clean], [corrupted], asked, components="heads")
    assert np.abs(found.effect).max() > 3 * np.abs(alone.effect).max()


@pytest.mark.slow
def test_neurons_of_experts_are_those_of_the_same_expert(x64: None) -> None:
    """A neuron's value is looked up by its expert, wherever in the other run's order of choice it stands."""
    model, (clean, corrupted) = model_of(EXPERTS, np.float64), two_prompts(EXPERTS)
    traces = [
        forward(model.params, side, EXPERTS, record={HookPoint.NEURON, HookPoint.EXPERT})[1]
        for side in (clean, corrupted)
    ]
    a, chosen = (
        np.stack([np.asarray(trace[point]) for trace in traces]) for point in (HookPoint.NEURON, HookPoint.EXPERT)
    )
    places = [(layer, expert, index) for layer in (0, 1) for expert in range(5) for index in (0, 4)]
    found = activation_patching(model, clean, corrupted, TOKEN, components=places)

    def run(place: tuple[int, int, int]) -> np.ndarray:
        layer, expert, index = place

        def edit(value: jax.Array, at: Any) -> jax.Array:
            changed = np.array(a[1, layer])
            for b, p, slot in np.argwhere(chosen[1, layer] == expert):
                same = np.flatnonzero(chosen[0, layer, b, p] == expert)
                there = a[0, layer, b, p, same[0] * EXPERTS.d_ff + index] if same.size else 0.0
                changed[b, p, slot * EXPERTS.d_ff + index] = there
            return jnp.where(jnp.asarray(at) == layer, jnp.asarray(changed), value)

        return np.asarray(
            forward(model.params, corrupted, EXPERTS, record=(), at=-1, edits={HookPoint.NEURON: edit})[0]
        )

    close(found.value, np.stack([run(place) for place in places])[..., TOKEN])
    assert np.abs(found.effect).max() > 1e-3


def test_measures_are_of_the_clean_prompt(x64: None) -> None:
    model, (clean, corrupted) = model_of(SMALL, np.float64), two_prompts(SMALL)
    ends = [np.asarray(forward(model.params, side, SMALL, record=(), at=[3, -1])[0]) for side in (clean, corrupted)]
    heads = [("head", {"layers": layer, "heads": head}) for layer in range(2) for head in range(4)]
    top, other = ends[0].argmax(-1), ends[1].argmax(-1)

    def log(logits: np.ndarray) -> np.ndarray:
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def picked(values: np.ndarray, ids: np.ndarray = top) -> np.ndarray:
        return np.take_along_axis(values, np.broadcast_to(ids, values.shape[:-1])[..., None], -1)[..., 0]

    difference = (lambda x: picked(x) - picked(x, other)) if (top != other).all() else picked
    expected = {
        None: difference,
        landed.Logit(against=4): lambda x: picked(x) - x[..., 4],
        LogProbability(): lambda x: picked(log(x)),
        Probability(): lambda x: np.exp(picked(log(x))),
        Probability(TOKEN): lambda x: np.exp(log(x)[..., TOKEN]),
        Rank(): lambda x: (x > picked(x)[..., None]).sum(-1),
        Divergence(): lambda x: (np.exp(log(ends[0])) * (log(ends[0]) - log(x))).sum(-1),
    }
    ways: list[tuple[Any, Tokens, Tokens]] = [("denoise", corrupted, clean), ("noise", clean, corrupted)]
    for direction, own, from_ in ways:
        logits = by_hand(model, own, from_, heads, at=[3, -1])
        for measure, wanted in expected.items():
            found = activation_patching(
                model, clean, corrupted, measure, components="heads", direction=direction, at=[3, -1]
            )
            close(found.value.reshape(8, 2, 2), wanted(logits), 1e-10)
            close(found.clean, wanted(ends[0]), 1e-10)
            close(found.corrupted, wanted(ends[1]), 1e-10)


def test_pairs_are_each_alone_and_their_mean(x64: None) -> None:
    model, (clean, corrupted) = model_of(SMALL, np.float64), two_prompts(SMALL, (5, 3, 4))
    right, wrong = (jnp.array(ids, jnp.int32) for ids in ([[1], [2], [3]], [[4], [5], [6]]))
    more = ((0, 0), (3, 0))
    padded, other = (Tokens(jnp.pad(side.ids, more), jnp.pad(side.mask, more)) for side in (clean, corrupted))
    found = activation_patching(model, Pairs(padded, other, right, wrong))
    assert found.columns == (3, 4, 5, 6, 7) and found.effect.shape == (3, 2, 5, 3, 1)
    for row, length in enumerate((5, 3, 4)):
        alone = [np.asarray(side.ids)[row, 5 - length :].tolist() for side in (clean, corrupted)]
        asked = landed.Logit(int(right[row, 0]), against=int(wrong[row, 0]))
        by_itself = activation_patching(model, [alone[0]], [alone[1]], asked)
        close(found.effect[:, :, 5 - length :, row], np.asarray(by_itself.effect[..., 0, :]), 1e-10)
        close(found.recovered[:, :, 5 - length :, row], np.asarray(by_itself.recovered[..., 0, :]), 1e-9)
    real = np.asarray(clean.mask).T  # [column, prompt]
    np.testing.assert_array_equal(found.count[0, 0, :, 0], real.sum(1))
    effect, gap = np.asarray(found.effect[..., 0]), np.asarray(found.gap[:, 0])
    close(found.mean_effect[..., 0], (effect * real).sum(-1) / real.sum(1), 1e-10)
    close(found.mean_recovered[..., 0], (effect * real).sum(-1) / (gap * real).sum(-1), 1e-9)


def test_no_fraction_of_nothing() -> None:
    model, (clean, corrupted) = model_of(SMALL), two_prompts(SMALL, (5,))
    found = activation_patching(model, clean, corrupted, lambda logits: 0 * logits[..., 0] + 2, components="heads")
    assert not found.defined.any() and np.isnan(found.recovered).all() and np.isnan(found.mean_recovered).all()
    assert (np.asarray(found.effect) == 0).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_stacked_layers_and_other_weights(dtype: Any) -> None:
    params = random_params(SMALL, dtype=dtype)
    clean, corrupted = two_prompts(SMALL)
    wide = landed.Model(SMALL, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params))
    expected = activation_patching(wide, clean, corrupted, TOKEN).effect
    found = activation_patching(landed.Model(SMALL, stack_layers(params)), clean, corrupted, TOKEN).effect
    close(found, np.asarray(expected), 1e-5)


def test_programs_are_of_hook_points() -> None:
    """Other prompts of this length compile nothing, and more layers no more programs."""
    config = dataclasses.replace(SMALL, n_layers=6, d_model=10)
    model = landed.Model(config, init_params(config, jax.random.key(0)))
    clean, corrupted = two_prompts(config)
    with compilations() as compiled:
        activation_patching(model, clean, corrupted, TOKEN)
    layers = [line for line in compiled if re.search(r"\bafter_layer\b", line)]
    assert len(layers) <= 3 * 6 < 3 * config.n_layers * 4
    other = random_tokens(config, seed=7)
    ids = np.array(other.ids)
    ids[:, -2] = (ids[:, -2] + 1) % config.vocab_size
    with compilations() as compiled:
        activation_patching(model, other, Tokens(jnp.asarray(ids), other.mask), 4)
    assert not compiled


def test_a_result_knows_both_prompts(tmp_path: Path) -> None:
    model = landed.load()
    texts = "The Colosseum is in the city of", "The Louvre is in the city of"
    seen: list[tuple[int, int]] = []
    how: dict[str, Any] = {"sites": ["mlp_write"], "progress": lambda *done: seen.append(done)}
    found = activation_patching(model, *texts, **how, out=tmp_path / "chunks")
    assert repr(found).startswith("Patching(bundled, 4 layers, 1 × 8 tokens; effect f32[1,4,8,1,1]")
    assert seen[-1] == (4 * 6, 4 * 6)  # not the columns before the first token that differs
    dataset = found.to_xarray(derived=True)
    assert dataset.effect.dims == ("hook_point", "layer", "column", "batch", "position")
    assert dataset.source_token.values[0, 2] == " Colosseum"
    assert dataset.source_corrupted_token.values[0, 2] == " Louvre"
    assert found.vocabulary is not None and found.target is not None and found.against is not None
    assert [found.vocabulary.text(int(ids[0, 0])) for ids in (found.target, found.against)] == [" Rome", " Paris"]
    found.save(tmp_path / "patching.nc", derived=True)
    saved = landed.load_result(tmp_path / "patching.nc")
    np.testing.assert_array_equal(saved.recovered, found.recovered)
    assert saved.attrs["direction"] == "denoise" and saved.attrs["method"] == "activation patching"
    same = jax.jit(lambda found: found)(found)
    assert isinstance(same, Patching) and same.labels == found.labels


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"components": "layers"}, '"positions", "heads", or a list of neurons'),
        ({"components": [(0, 1, 2)]}, "given as .layer, index."),
        ({"direction": "up"}, '"denoise" or "noise"'),
        ({"sites": ["embedding"]}, "no such axes"),
        ({"sites": ["mlp_gamma"]}, "no such axes"),
        ({"sites": ["mlp_write"], "components": "heads"}, "sites= goes with"),
        ({"at": 0}, "differ only after position 0"),
        ({"components": [(0, 1), (0, 99999)]}, r"no neuron \(0, 99999\): index runs from 0 to 9"),
        ({"components": [(9, 5)]}, r"no neuron \(9, 5\): layer runs from 0 to 1"),
        ({"components": [(-1, 5)]}, r"no neuron \(-1, 5\)"),
        ({"components": [(0, -1)]}, r"no neuron \(0, -1\)"),
        ({"components": 3}, "a list of neurons, not 3"),
        ({"components": np.zeros((2, 2), int)}, "a list of neurons, not array"),
        ({"components": []}, r"a list of neurons, not \[\]"),
        ({"components": [0, 1]}, r"\(layer, index\), in whole numbers, not as 0"),
        ({"components": [(0.5, 1)]}, r"in whole numbers, not as \(0.5, 1\)"),
        ({"components": [(True, 1)]}, r"in whole numbers, not as \(True, 1\)"),
        ({"sites": 3}, "takes hook points within layers, not 3"),
        ({"sites": []}, "names no hook point"),
    ],
)
@pytest.mark.parametrize("function", [activation_patching, attribution_patching])
def test_what_cannot_be_is_refused(function: Any, how: dict[str, Any], says: str) -> None:
    clean, corrupted = two_prompts(SMALL, (5,))
    with pytest.raises(LandedError, match=says):
        function(model_of(SMALL), clean, corrupted, TOKEN, **how)


@pytest.mark.slow
def test_neurons_of_experts_that_there_are_not() -> None:
    clean, corrupted = two_prompts(EXPERTS)
    with pytest.raises(LandedError, match=r"\(0, 5, 1\): expert runs from 0 to 4"):
        activation_patching(model_of(EXPERTS), clean, corrupted, TOKEN, components=[(0, 5, 1)])
    with pytest.raises(LandedError, match=r"\(layer, expert, index\)"):
        activation_patching(model_of(EXPERTS), clean, corrupted, TOKEN, components=[(0, 1)])


def test_one_site_and_neurons_as_numpy_has_them() -> None:
    model, (clean, corrupted) = model_of(SMALL), two_prompts(SMALL, (5,))
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"sites": "mlp_write"}, {"sites": ["mlp_write"]}),
        ({"sites": HookPoint.MLP_WRITE}, {"sites": ["mlp_write"]}),
        ({"components": list(np.array([[0, 3], [1, 2]]))}, {"components": [(0, 3), (1, 2)]}),
    ]
    for one, same in cases:
        found, expected = (activation_patching(model, clean, corrupted, TOKEN, **how) for how in (one, same))
        assert found.labels == expected.labels
        np.testing.assert_array_equal(found.effect, expected.effect)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"at": 5}, "at=5 is none of the measured columns: there are 1"),
        ({"at": -1}, "at=-1 is none"),
        ({"at": "last"}, "at='last' is none"),
        ({"shown": "foo"}, '"fraction" or the "effect", not \'foo\''),
        ({"pair": 1}, "no prompt 1"),
    ],
)
def test_a_heat_map_of_what_there_is_not(how: dict[str, Any], says: str) -> None:
    clean, corrupted = two_prompts(SMALL, (5,))
    found = activation_patching(model_of(SMALL), clean, corrupted, TOKEN, sites="mlp_write")
    with pytest.raises(LandedError, match=says):
        heat_maps(found, **how)


def test_slots_of_experts_are_refused() -> None:
    clean, corrupted = two_prompts(EXPERTS)
    with pytest.raises(LandedError, match="experts that a run chose"):
        activation_patching(model_of(EXPERTS), clean, corrupted, TOKEN, sites=["neuron"])


def test_every_hook_point_with_positions(x64: None) -> None:
    """Keys and values too, whose columns are sources."""
    model, (clean, corrupted) = model_of(SMALL, np.float64), two_prompts(SMALL)
    for site in ("query", "key", "value", "pattern", "attn_out", "neuron", "mlp_normed", "attn_sigma"):
        found = activation_patching(model, clean, corrupted, TOKEN, sites=[site])
        cells = [(site, {"layers": layer, "positions": column}) for layer in range(2) for column in range(5)]
        values = by_hand(model, corrupted, clean, cells)[..., TOKEN]
        close(found.value.reshape(values.shape), values)
    stack = every_layer_and_position(SMALL, 5, ["value"])
    assert found.effect.shape[1:3] == stack.shape[1:]
