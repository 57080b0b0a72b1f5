"""Sweeps against as many separate forward passes: every kind of model, hook point, start, span and measure."""

import dataclasses
import re
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.interventions import (
    Divergence,
    LogProbability,
    Rank,
    chosen_neurons,
    every_head,
    every_layer_and_position,
    every_part,
    freeze_sigma,
    intervene,
    patch,
    stack_of,
    sweep,
)
from landed_jax.interventions._chunks import chunks_of
from landed_jax.interventions._saved import digest
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint, absent
from landed_jax.nn.intervention import checked_members
from landed_jax.nn.parameters import init_params, stack_layers
from landed_jax.tokens import Tokens
from tests.compiling import compilations
from tests.models import BOTH_NORMS, CONFIGS, SMALL, each_config, random_params, random_tokens

TOKEN = 3


def separately(model: landed.Model, tokens: Tokens, members: Any, at: Any, always: Any = ()) -> np.ndarray:
    """The logits of each run alone, ``[run, batch, asked, vocab]``."""
    compiled = jax.jit(
        lambda params, i: forward(params, tokens, model.config, record=(), at=at, interventions=[always, i])[0]
    )
    return np.stack([np.asarray(compiled(model.params, member)) for member in members])


def model_of(config: ModelConfig, dtype: Any = np.float32) -> landed.Model:
    return landed.Model(config, random_params(config, dtype=dtype))


def uncapped(logits: np.ndarray, config: ModelConfig) -> np.ndarray:
    """What a question reads."""
    return logits if config.logit_cap is None else config.logit_cap * np.arctanh(logits / config.logit_cap)


def close(found: Any, expected: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.quick
@each_config
def test_heads_and_layers_and_positions_are_what_they_are_alone(config: ModelConfig, x64: None) -> None:
    model, tokens = model_of(config, np.float64), random_tokens(config)
    for stack in (every_head(config), every_layer_and_position(config, tokens.ids.shape[1])):
        found = sweep(model, tokens, stack, TOKEN)
        assert found.value.shape == (*stack.shape, 2, 1)
        alone = uncapped(separately(model, tokens, stack.members, -1), config)[..., TOKEN]
        close(found.value.reshape(alone.shape), alone, 1e-12)
        clean = uncapped(np.asarray(forward(model.params, tokens, config, record=(), at=-1)[0]), config)[..., TOKEN]
        close(found.clean, clean, 1e-12)
        assert np.abs(found.effect).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "small",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("parallel", "both_norms", "windowed", "experts")),
    ],
)
def test_every_hook_point_at_long_prompts(name: str, x64: None) -> None:
    """Beyond the shortest span, so that columns before a change are taken from the clean run."""
    config = dataclasses.replace(CONFIGS[name], max_positions=64)
    model, tokens = model_of(config, np.float64), random_tokens(config, lengths=(40, 37))
    members = []
    for point in HookPoint:
        if point in absent(config):
            continue
        where: dict[str, Any] = {} if point.value.endswith("gamma") else {"positions": 30}
        if point.value.startswith("final"):
            where = {} if point.value.endswith("gamma") else {"positions": -1}
        elif "embedding" not in point.value:
            where["layers"] = -1
        members.append((intervene(point, "scale", 1.5, **where),))
    members.append((intervene("head", layers=0, positions=28), intervene("mlp_write", layers=-1, positions=35)))
    members.append(())
    at = [33, -1]
    chunks = chunks_of(checked_members(members, config, 2, 40), config, [33, 39], 2, 10**6)
    assert {chunk.span.first for chunk in chunks} == {0, 24}
    found = sweep(model, tokens, members, TOKEN, at=at)
    alone = uncapped(separately(model, tokens, members, at), config)[..., TOKEN]
    close(found.value, alone, 1e-12)
    np.testing.assert_array_equal(found.value[-1], found.clean)


def test_in_float32_and_of_the_bundled_model() -> None:
    model = landed.load()
    tokens = model.encode("The Colosseum is in the city of")
    found = sweep(model, tokens, every_head(model.config), " Rome")
    alone = separately(model, tokens, every_head(model.config).members, -1)[..., model.vocabulary.token_id(" Rome")]
    close(found.value.reshape(alone.shape), alone, 1e-6)


@pytest.mark.parametrize("stacked", [False, True])
def test_measures_and_questions(stacked: bool) -> None:
    model, tokens = model_of(SMALL), random_tokens(SMALL)
    if stacked:
        model = dataclasses.replace(model, params=stack_layers(model.params))
    stack = chosen_neurons([(0, 3), (1, 7), (1, 2)])
    logits = separately(model, tokens, stack.members, [2, -1])
    clean = np.asarray(forward(model.params, tokens, SMALL, record=(), at=[2, -1])[0])
    log, before = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (logits, clean))
    top = clean.argmax(-1)

    def picked(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, np.broadcast_to(top, values.shape[:-1])[..., None], -1)[..., 0]

    expected = {
        None: picked(logits),
        landed.Logit(TOKEN, against=4): logits[..., TOKEN] - logits[..., 4],
        LogProbability(TOKEN): log[..., TOKEN],
        LogProbability(): picked(log),
        Rank(TOKEN): (logits > logits[..., TOKEN, None]).sum(-1),
        Divergence(): (np.exp(before) * (before - log)).sum(-1),
    }
    for measure, wanted in expected.items():
        found = sweep(model, tokens, stack, measure, at=[2, -1])
        np.testing.assert_allclose(found.value, wanted, rtol=1e-4, atol=1e-5, err_msg=str(measure))
    found = sweep(model, tokens, stack, lambda x: jnp.max(x, axis=-1), at=[2, -1])
    np.testing.assert_allclose(found.value, logits.max(-1), rtol=1e-5)


def test_with_frozen_norms_in_every_run() -> None:
    model, tokens = model_of(BOTH_NORMS), random_tokens(BOTH_NORMS)
    frozen = freeze_sigma(model.trace(tokens))
    found = sweep(model, tokens, every_part(BOTH_NORMS), TOKEN, always=frozen)
    alone = uncapped(separately(model, tokens, every_part(BOTH_NORMS).members, -1, frozen), BOTH_NORMS)[..., TOKEN]
    close(found.value.reshape(alone.shape), alone, 1e-5)


def test_patches_of_another_prompt_are_shared() -> None:
    model, tokens, other = model_of(SMALL), random_tokens(SMALL), random_tokens(SMALL, seed=4)
    trace = model.trace(other, record={HookPoint.HEAD})
    stack = every_head(SMALL, "replace", trace[HookPoint.HEAD])
    batch = chunks_of(checked_members(stack.members, SMALL, 2, 5), SMALL, [4], 2, 10**6)[0].batch()
    assert sum(axis is None for axis in batch.axes) == 1  # the values, once
    found = sweep(model, tokens, stack, TOKEN)
    alone = separately(model, tokens, [patch(trace, "head", layers=i, heads=j) for i in (0, 1) for j in range(4)], -1)
    close(found.value.reshape(8, 2, 1), alone[..., TOKEN], 1e-6)


def test_programs_are_of_kinds_of_interventions() -> None:
    """Other heads, layers and values, more of them, and other prompts of this length compile nothing."""
    config = dataclasses.replace(SMALL, n_layers=5, d_model=14)
    model = landed.Model(config, init_params(config, jax.random.key(0)))
    with compilations() as compiled:
        sweep(model, random_tokens(config), every_head(config), TOKEN)
    layers = [line for line in compiled if re.search(r"\bafter_layer\b", line)]
    # Where a chunk's runs begin, where some of them do, and where none does; and the last layer of each.
    assert len(layers) <= 6 < config.n_layers * config.n_heads
    with compilations() as compiled:
        sweep(model, random_tokens(config, seed=1), every_head(config), 4)
    assert not compiled


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    model, tokens, seen = model_of(SMALL), random_tokens(SMALL), []
    stack = every_layer_and_position(SMALL, 5)
    whole = sweep(model, tokens, stack, TOKEN, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30) and len(seen) > 1

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(model, tokens, stack, TOKEN, out=tmp_path / "sweep", progress=interrupt)
    kept = sorted((tmp_path / "sweep").glob("*.npz"))
    assert len(kept) == 1
    kept[0].write_bytes(kept[0].read_bytes()[:-1])  # damaged: computed again
    again = sweep(model, tokens, stack, TOKEN, out=tmp_path / "sweep")
    np.testing.assert_array_equal(again.value, whole.value)
    with pytest.raises(LandedError, match="another sweep"):
        sweep(model, tokens, stack, 4, out=tmp_path / "sweep")
    with pytest.raises(LandedError, match="other files"):
        sweep(model, tokens, stack, 4, out=tmp_path)


def test_labels(tmp_path: Path) -> None:
    model, tokens = model_of(SMALL), random_tokens(SMALL)
    found = sweep(model, tokens, every_layer_and_position(SMALL, [1, 4], ["mlp_write"]), TOKEN)
    dataset = found.to_xarray(derived=True)
    assert dataset.value.dims == ("hook_point", "layer", "column", "batch", "position")
    assert dataset.column.values.tolist() == [1, 4] and dataset.hook_point.values.tolist() == ["mlp_write"]
    np.testing.assert_allclose(dataset.effect, found.clean[None, None, None] - found.value)
    found.save(tmp_path / "sweep.nc")
    assert landed.load_result(tmp_path / "sweep.nc").value.dims == dataset.value.dims
    assert (
        sweep(model, tokens, [intervene("head", heads=0)], TOKEN).to_xarray().intervention.item().startswith("Interv")
    )


@pytest.mark.parametrize(
    ("interventions", "measure", "says"),
    [
        ([], TOKEN, "a Stack or a list"),
        (stack_of([intervene("head", heads=9)]), TOKEN, "no head 9"),
        ([intervene("head", heads=0)], landed.Neuron(0, 1, "gate"), "final norm, not at 0.mlp"),
        ([intervene("head", heads=0)], lambda logits: logits, "one number a prompt and position"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(interventions: Any, measure: Any, says: str) -> None:
    with pytest.raises(LandedError, match=says):
        sweep(model_of(SMALL), random_tokens(SMALL), interventions, measure)


def test_a_folder_is_known_in_another_process() -> None:
    """There the package's own functions lie elsewhere in memory."""

    def elsewhere(function: Any) -> Any:
        moved = types.FunctionType(function.__code__, function.__globals__)
        moved.__qualname__ = function.__qualname__
        return moved

    here, there = (jax.tree_util.Partial(f, jnp.ones(2)) for f in (random_tokens, elsewhere(random_tokens)))
    assert str(jax.tree.structure(here)) != str(jax.tree.structure(there)) and digest(here) == digest(there)
    assert digest(here) != digest(jax.tree_util.Partial(random_params, jnp.ones(2)))
    assert digest(jax.tree_util.Partial(lambda x: x, 1)) != digest(jax.tree_util.Partial(lambda x: 2 * x, 1))
