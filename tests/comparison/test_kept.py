"""Circuits of components against plain edits of the forward pass, in every kind of model."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.comparison import LEVELS, kept_values
from landed_jax.comparison._baselines import ABLATIONS, baselines, means_of
from landed_jax.comparison._kept import passes
from landed_jax.comparison._levels import level_of
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import stack_layers
from landed_jax.tasks import Pairs
from tests.comparison.pairs import random_pairs
from tests.compiling import compilations
from tests.models import CONFIGS, NAMES, SMALL


def by_edits(model: landed.Model, pairs: Pairs, level: str, mask: np.ndarray, ablated: dict[HookPoint, Any]) -> Any:
    """The value with a plain function at each hook point; `ablated` holds whole arrays, or 0."""

    def edit_of(site: HookPoint, kept: np.ndarray) -> Any:
        def edit(value: jax.Array, layer: Any) -> jax.Array:
            row = jnp.asarray(kept)[layer]
            row = {"head": row[:, None], "mlp_out": row}.get(site.value, row)
            other = jnp.asarray(ablated[site])
            return jnp.where(row, value, other[layer] if other.ndim else other)

        return edit

    heads = model.config.n_heads
    kept = {
        "heads": {HookPoint.HEAD: mask},
        "neurons": {HookPoint.NEURON: mask},
        "nodes": {HookPoint.HEAD: mask[:, :heads], HookPoint.MLP_OUT: mask[:, heads:]},
    }[level]
    edits = {site: edit_of(site, part) for site, part in kept.items()}
    record = {HookPoint.FINAL_NORMED, HookPoint.FINAL_SIGMA, HookPoint.FINAL_GAMMA, HookPoint.FINAL_RESIDUAL}
    logits, trace = forward(model.params, pairs.clean, model.config, at=-1, record=record, edits=edits)
    question = pairs.question(model.params, model.config)
    trace = dataclasses.replace(trace, logits=logits).bind(model.params)
    return landed.resolve(trace, question).value[:, 0]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", NAMES)
def test_a_circuit_is_what_edits_make_of_it(name: str, level: str, x64: None) -> None:
    config = CONFIGS[name]
    if level == "neurons" and config.n_experts:
        # That they are refused is tested elsewhere.
        pytest.skip("neurons of experts have no circuits: a place is another expert's neuron at each position")
    model, pairs = random_pairs(config, np.float64)
    width = LEVELS[level].row(config)
    masks = np.random.default_rng(0).random((4, config.n_layers, width)) < 0.6
    masks[1, 0] = masks[0, 0]  # which share their first layer
    sites = [part.site for part in LEVELS[level].parts]
    for ablation in ("zero", "resample"):
        baseline = baselines(model, pairs, LEVELS[level], ablation, {})
        other = {
            site: 0.0 if ablation == "zero" else forward(model.params, pairs.corrupted, config, record={site})[1][site]
            for site in sites
        }
        found = kept_values(model, pairs, LEVELS[level], masks, baseline)
        expected = np.stack([by_edits(model, pairs, level, mask, other) for mask in masks])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
        assert np.abs(found[1:] - found[:1]).max() > 1e-6


@pytest.mark.quick
def test_everything_is_the_model_and_the_order_does_not_matter() -> None:
    model, pairs = random_pairs(SMALL)
    everything, nothing = np.ones((2, 4), bool), np.zeros((2, 4), bool)
    some = np.array([[True, False, True, True], [False, True, True, False]])
    masks = np.stack([some, everything, nothing, ~some])
    for ablation in ("zero", "resample"):
        baseline = baselines(model, pairs, LEVELS["heads"], ablation, {})
        found = kept_values(model, pairs, LEVELS["heads"], masks, baseline)
        question = pairs.question(model.params, SMALL)
        clean = landed.resolve(model.trace(pairs.clean, at=-1), question).value[:, 0]
        np.testing.assert_allclose(found[1], clean, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[::-1], kept_values(model, pairs, LEVELS["heads"], masks[::-1], baseline))


def test_resampled_everywhere_is_the_corrupted_run_where_nothing_else_writes() -> None:
    """Nodes resampled at every layer leave the clean embedding: with equal embeddings it is the corrupted run."""
    model, pairs = random_pairs(SMALL)
    same = dataclasses.replace(pairs, corrupted=pairs.clean)
    level = LEVELS["nodes"]
    masks = np.zeros((1, 2, 5), bool)
    found = kept_values(model, same, level, masks, baselines(model, same, level, "resample", {}))
    clean = landed.resolve(model.trace(pairs.clean, at=-1), pairs.question(model.params, SMALL)).value[:, 0]
    np.testing.assert_allclose(found[0], clean, rtol=1e-4, atol=1e-5)


def test_stacked_layers_give_the_same() -> None:
    model, pairs = random_pairs(SMALL)
    stacked = dataclasses.replace(model, params=stack_layers(model.params))
    masks = np.random.default_rng(0).random((3, 2, 10)) < 0.5
    found = [
        kept_values(one, pairs, LEVELS["neurons"], masks, baselines(one, pairs, LEVELS["neurons"], "resample", {}))
        for one in (model, stacked)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


def test_the_mean_is_by_position_class_over_all_batches() -> None:
    model = landed.load()
    texts = ["The Colosseum is in the city of", "The Louvre is in the city of"]
    pairs = [Pairs(*(model.encode(text) for text in order), *np.ones((2, 1, 1), int)) for order in (texts, texts[::-1])]
    level = LEVELS["heads"]
    means = means_of(model, pairs, [HookPoint.HEAD])
    value = np.asarray(baselines(model, pairs[0], level, "mean", means)[HookPoint.HEAD])
    both = np.stack([np.asarray(model.trace(one.clean)[HookPoint.HEAD]) for one in pairs])
    first, others = both[:, :, :, :1].mean(axis=(0, 2, 3)), both[:, :, :, 1:].mean(axis=(0, 2, 3))
    np.testing.assert_allclose(value[:, 0, 0], first, rtol=1e-4, atol=1e-5)
    for column in range(1, value.shape[2]):
        np.testing.assert_allclose(value[:, 0, column], others, rtol=1e-4, atol=1e-5)


def test_another_circuit_compiles_nothing() -> None:
    config = dataclasses.replace(SMALL, n_layers=4, d_model=14)
    model, pairs = random_pairs(config)
    level, masks = LEVELS["neurons"], np.random.default_rng(0).random((9, 4, 10)) < 0.5
    baseline = baselines(model, pairs, level, "resample", {})
    with compilations() as compiled:
        kept_values(model, pairs, level, masks[:2], baseline)
    assert len([line for line in compiled if re.search(r"\bafter_layer\b", line)]) <= 2  # the last layer, and others
    with compilations() as compiled:
        kept_values(model, pairs, level, masks[2:], baseline)
    assert not compiled


def test_layers_that_circuits_share_are_counted_once() -> None:
    masks = np.ones((3, 4, 2), bool)
    masks[0, 2] = masks[1, 2] = masks[1, 3] = False
    assert passes(masks) == (2 + 1) / 4


def test_what_cannot_be_is_refused() -> None:
    model, pairs = random_pairs(SMALL)
    with pytest.raises(LandedError, match=r"a mask of \[2, 4\]"):
        kept_values(model, pairs, LEVELS["heads"], np.ones((1, 2, 5), bool), {HookPoint.HEAD: None})
    with pytest.raises(LandedError, match="no ablation 'none'"):
        baselines(model, pairs, LEVELS["heads"], "none", {})
    with pytest.raises(LandedError, match="without experts"):
        level_of("neurons", CONFIGS["experts"])
    assert set(ABLATIONS) == {"zero", "mean", "resample"}
