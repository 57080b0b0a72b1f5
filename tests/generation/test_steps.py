"""Steps over a cache against the forward pass over all columns, in float64; and what the core refuses."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import HookPoint, Tokens
from landed_jax.errors import LandedError
from landed_jax.generation import Cache, choose, decode_step, prefill
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from tests.compiling import compilations
from tests.models import CONFIGS, HELD, SMALL, random_params, random_tokens

STEPS = 6


def with_room(config: ModelConfig) -> ModelConfig:
    """With positions for all: where a rotary embedding depends on the length, another one would be in the cache."""
    return dataclasses.replace(config, max_positions=32)


def through_steps(params: Params, config: ModelConfig, prompts: Tokens, later: Any, interventions: Any = ()) -> Any:
    """Logits behind the prompts and behind each later token, one compiled step for all."""
    capacity = prompts.ids.shape[1] + later.shape[1]
    how: dict[str, Any] = {"interventions": interventions}
    first = jax.jit(lambda p, t: prefill(p, t, config, capacity=capacity, dtype="float64", **how))
    step = jax.jit(lambda p, c, i: decode_step(p, c, i, config, **how))
    logits, cache = first(params, prompts)
    found = [logits]
    for ids in later.T:
        logits, cache = step(params, cache, jnp.asarray(ids))
        found.append(logits)
    return jnp.stack(found, axis=1), cache


def whole(prompts: Tokens, later: Any) -> Tokens:
    """The prompts with the later tokens behind them."""
    real = np.ones(later.shape, bool)
    parts = ((prompts.ids, later), (prompts.mask, real))
    return Tokens(*(jnp.asarray(np.concatenate([np.asarray(a), b], axis=1)) for a, b in parts))


@pytest.mark.quick
@pytest.mark.parametrize(("name", "hold"), HELD)
def test_steps_are_the_forward_pass(name: str, hold: Callable[[Params], Params], x64: None) -> None:
    config = with_room(CONFIGS[name])
    params, prompts = hold(random_params(config, dtype=np.float64)), random_tokens(config)
    later = np.random.default_rng(1).integers(0, config.vocab_size, (2, STEPS)).astype(np.int32)
    found, cache = through_steps(params, config, prompts, later)
    tokens = whole(prompts, later)
    everything = jax.jit(lambda p: landed.forward(p, tokens, config, record={HookPoint.KEY, HookPoint.VALUE}))
    logits, trace = everything(params)
    expected = logits[:, prompts.ids.shape[1] - 1 :]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert int(cache.used) == tokens.ids.shape[1]
    np.testing.assert_array_equal(cache.mask, tokens.mask)
    real = np.asarray(tokens.mask)[None, :, :, None, None]
    for kept, site in ((cache.keys, HookPoint.KEY), (cache.values, HookPoint.VALUE)):
        recorded = np.asarray(trace[site])
        np.testing.assert_allclose(
            np.asarray(kept) * real, recorded * real, rtol=0, atol=1e-12 * np.abs(recorded).max()
        )


def test_room_to_spare_and_padding_change_nothing_and_one_program_serves_all_steps(x64: None) -> None:
    params, prompts = random_params(SMALL, dtype=np.float64), random_tokens(SMALL, lengths=(4,))

    @jax.jit
    def both(params: Params) -> Any:
        shapes = ((prompts, 8), (prompts.padded(6), 16))
        return [prefill(params, tokens, SMALL, capacity=n, dtype="float64") for tokens, n in shapes]

    (logits, tight), (more, roomy) = both(params)
    np.testing.assert_allclose(more, logits, rtol=0, atol=1e-13 * np.abs(logits).max())
    step = jax.jit(lambda p, c, i: decode_step(p, c, i, SMALL))
    for cache in (tight, roomy):
        step(params, cache, jnp.array([2]))
    with compilations() as compiled:
        for _ in range(3):
            (ours, tight), (theirs, roomy) = (step(params, cache, jnp.array([2])) for cache in (tight, roomy))
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-13 * np.abs(ours).max())
    assert not [line for line in compiled if "lambda" in line]


def test_a_prompt_that_has_ended_leaves_padding(x64: None) -> None:
    params, prompts = random_params(SMALL, dtype=np.float64), random_tokens(SMALL)
    alone = np.concatenate([np.asarray(prompts.ids)[1, 2:], [4]])[None]

    @jax.jit
    def run(params: Params, real: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        _, cache = prefill(params, prompts, SMALL, capacity=8, dtype="float64")
        _, cache = decode_step(params, cache, jnp.array([2, 3]), SMALL, real=real)
        found, _ = decode_step(params, cache, jnp.array([4, 4]), SMALL)
        return cache.mask[:, 5], found, landed.forward(params, jnp.asarray(alone), SMALL, record=())[0][0, -1]

    mask, found, expected = run(params, jnp.array([True, False]))
    np.testing.assert_array_equal(mask, [True, False])
    np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_steps_under_vmap_and_in_a_loop_of_the_users_own(x64: None) -> None:
    params, prompts = random_params(SMALL, dtype=np.float64), random_tokens(SMALL, lengths=(4, 4, 4))

    def greedy(ids: jax.Array) -> jax.Array:
        logits, cache = prefill(params, ids, SMALL, capacity=9, dtype="float64")

        def step(carry: tuple[jax.Array, Cache], _: None) -> tuple[tuple[jax.Array, Cache], jax.Array]:
            ids, cache = carry
            logits, cache = decode_step(params, cache, ids, SMALL)
            return (choose(logits), cache), ids

        return jax.lax.scan(step, (choose(logits), cache), None, length=5)[1].T

    together = jax.jit(greedy)(prompts.ids)
    each = jax.jit(jax.vmap(lambda row: greedy(row[None])[0]))(prompts.ids)
    np.testing.assert_array_equal(each, together)
    np.testing.assert_array_equal(landed.Model(SMALL, params).generate(prompts, 5, stop=()).ids, together)


def test_draws_follow_the_models_probabilities() -> None:
    logits, count, temperature = jnp.array([[0.3, -1.0, 2.0, 0.0], [1.0, 1.0, 0.0, -2.0]]), 4000, 1.7
    keys = jax.random.split(jax.random.key(0), count)
    drawn = jax.jit(jax.vmap(lambda key: choose(logits, key, temperature)))(keys)
    expected = np.asarray(jax.nn.softmax(logits / temperature, axis=-1))
    for row in range(2):
        found = np.bincount(np.asarray(drawn)[:, row], minlength=4) / count
        deviation = np.sqrt(expected[row] * (1 - expected[row]) / count)
        assert (np.abs(found - expected[row]) < 4 * deviation).all()
    together = np.mean(np.asarray(drawn)[:, 0] == np.asarray(drawn)[:, 1])
    assert abs(together - expected.prod(axis=0).sum()) < 4 * np.sqrt(0.25 / count)  # rows draw apart


def test_what_the_core_refuses() -> None:
    params, prompts = random_params(SMALL), random_tokens(SMALL)
    with pytest.raises(LandedError, match="no room for prompts of 5"):
        prefill(params, prompts, SMALL, capacity=4)
    _, cache = jax.jit(lambda p: prefill(p, prompts, SMALL, capacity=5))(params)
    with pytest.raises(LandedError, match="cache is full: it has 5 columns"):
        decode_step(params, cache, jnp.array([1, 2]), SMALL)
    with pytest.raises(LandedError, match=r"one token for each of 2 prompts, not ids of \[1\]"):
        decode_step(params, cache, jnp.array([1]), SMALL)
