"""Attention in spans, in blocks and by key heads against the same in NumPy, written out."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import Mesh, PartitionSpec

from landed_jax import SOURCES, WRITES, HookPoint, Trace, forward
from landed_jax.nn.attention import attend, attention_mask, attention_pattern, mix_values
from landed_jax.nn.config import Scoring
from landed_jax.nn.parameters import Params, abstract_params, stack_layers
from tests.models import SMALL, random_params, random_tokens

HEADS, KEY_HEADS, HEAD_DIM = 4, 2, 6
SCORING, CAPPED = Scoring(HEAD_DIM**-0.5), Scoring(0.7, 1.5)
# Bytes of the scores of one query at 600 tokens, in float64: what limits the blocks to the fewest queries, and no more.
LIMITS = {"whole spans": 2**40, "key heads in turn": 2 * 2 * 8 * 75 * 600, "blocks of queries": 0}


def random_heads(length: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    random = np.random.default_rng(0)
    q = jnp.asarray(random.standard_normal((2, length, HEADS, HEAD_DIM)))
    k, v = (jnp.asarray(random.standard_normal((2, length, KEY_HEADS, HEAD_DIM))) for _ in range(2))
    return q, k, v


def visible_by_hand(mask: np.ndarray, window: int | None) -> np.ndarray:
    rows, length = mask.shape
    seen = np.zeros((rows, length, length), bool)
    for row in range(rows):
        for query in range(length):
            for key in range(query + 1):
                near = window is None or query - key < window
                seen[row, query, key] = key == query or (mask[row, key] and near)
    return seen


def limit_scores(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    for name in ("CPU_SCORES", "ACCELERATOR_SCORES"):
        monkeypatch.setattr(f"landed_jax.nn.attention.{name}", limit)


@pytest.mark.quick
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize(("length", "window"), [(1, None), (64, 3), (65, None), (130, 3), (300, 100), (600, None)])
@pytest.mark.parametrize("scoring", [SCORING, CAPPED], ids=["plain", "capped"])
def test_attention_is_numpys(
    length: int, window: int | None, scoring: Scoring, limit: int, x64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_scores(monkeypatch, limit)
    q, k, v = random_heads(length)
    mask = np.ones((2, length), bool)
    mask[1, : length // 2] = False  # left padding, longer than a span
    visible = visible_by_hand(mask, window)
    mask_of, pattern_of = jax.jit(attention_mask, static_argnums=1), jax.jit(attention_pattern, static_argnums=3)
    np.testing.assert_array_equal(mask_of(jnp.asarray(mask), window), visible)
    scores = np.einsum("bqhd,bkhd->bhqk", q, np.repeat(k, HEADS // KEY_HEADS, axis=2)) * scoring.scale
    scores = scores if scoring.cap is None else scoring.cap * np.tanh(scores / scoring.cap)
    scores = np.where(visible[:, None], scores, -np.inf)
    expected = np.exp(scores - scores.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    pattern = pattern_of(q, k, jnp.asarray(visible), scoring)
    np.testing.assert_allclose(pattern, expected, atol=1e-12)
    z = np.einsum("bhqk,bkhd->bqhd", expected, np.repeat(v, HEADS // KEY_HEADS, axis=2))
    np.testing.assert_allclose(jax.jit(mix_values)(pattern, v), z, atol=1e-12)
    # A function of its own, as a jitted one is kept from one setting to the next.
    mixed = jax.jit(lambda q, k, v, mask: attend(q, k, v, mask, scoring, window))(q, k, v, jnp.asarray(mask))
    np.testing.assert_allclose(mixed, z, atol=1e-12)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_long_prompts_go_in_loops(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def loops(limit: int) -> int:
        limit_scores(monkeypatch, limit)
        shapes = [jax.ShapeDtypeStruct((2, 300, heads, 8), jnp.float32) for heads in (4, 2, 2)]
        mask = jax.ShapeDtypeStruct((2, 300), bool)
        program = jax.export.export(jax.jit(lambda *given: attend(*given, SCORING)), platforms=[platform])(
            *shapes, mask
        )
        return program.mlir_module().count("stablehlo.while")

    cpu = platform == "cpu"
    assert loops(2**40) == 0
    assert loops(2 * 4 * 4 * 64 * 300 - 1) == (1 if cpu else 0)  # the key heads; each span is one block
    assert loops(0) == (1 if cpu else 0) + 5  # and blocks of the five spans' queries


@pytest.mark.parametrize("window", [None, 20])
def test_in_loops_under_vmap_grad_and_shard_map(window: int | None, x64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = random_heads(70)
    mask = jnp.arange(70)[None] >= jnp.array([[0], [66]])  # left padding, longer than a span
    visible = attention_mask(mask, window)
    weight = jnp.asarray(np.random.default_rng(1).standard_normal(q.shape))

    def value(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = jax.vmap(lambda *one: attend(*(x[None] for x in one), SCORING, window)[0])(q, k, v, mask)
        return jnp.sum(weight * mixed), mixed

    def whole(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = mix_values(attention_pattern(q, k, visible, SCORING), v)
        return jnp.sum(weight * mixed), mixed

    limit_scores(monkeypatch, 0)
    (slopes, mixed), (expected_slopes, expected) = (
        jax.jit(jax.grad(function, argnums=(0, 1, 2), has_aux=True))(q, k, v) for function in (value, whole)
    )
    np.testing.assert_allclose(mixed, expected, atol=1e-12)
    for found, right in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(found, right, atol=1e-11)
    mesh, rows = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    cut = jax.shard_map(lambda *given: attend(*given, SCORING, window), mesh=mesh, in_specs=rows, out_specs=rows)
    np.testing.assert_allclose(jax.jit(cut)(q, k, v, mask), mixed, atol=1e-12)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_the_rows_of_chosen_positions_are_those_of_the_whole_pattern(name: str, stacked: bool, x64: None) -> None:
    config = dataclasses.replace(SMALL, family=name, sliding_window=3 if name == "mistral" else None)
    params = random_params(config, dtype=jnp.float64)
    params = stack_layers(params) if stacked else params
    tokens = random_tokens(config, lengths=(9, 4))
    _, whole = forward(params, tokens, config, record={HookPoint.PATTERN})
    for at in ([-1], [8], [6, 2, 7], [0]):
        logits, rows = forward(params, tokens, config, record={HookPoint.PATTERN, HookPoint.HEAD}, at=at)
        plain, heads = forward(params, tokens, config, record={HookPoint.HEAD}, at=at)
        expected = np.asarray(whole[HookPoint.PATTERN])[:, :, :, np.mod(at, 9)]
        np.testing.assert_allclose(rows[HookPoint.PATTERN], expected, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(logits, plain)
        np.testing.assert_array_equal(rows[HookPoint.HEAD], heads[HookPoint.HEAD])


def test_a_run_of_one_position_never_makes_the_pattern_whole() -> None:
    """No array of the traced program is as large as one layer's pattern, however deep in its loops."""
    config, length = SMALL, 2048
    ids = jax.ShapeDtypeStruct((1, length), jnp.int32)

    def sizes(at: list[int] | None) -> int:
        def run(params: Params, ids: jax.Array) -> tuple[jax.Array, Trace]:
            return forward(params, ids, config, record=WRITES | SOURCES, at=at)

        traced = jax.make_jaxpr(run)(abstract_params(config), ids)
        return max(value.aval.size for equation in all_equations(traced.jaxpr) for value in equation.outvars)

    assert sizes(None) >= config.n_heads * length**2  # what is asked for is made
    assert sizes([-1]) < config.n_heads * length**2 / 4


def all_equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from all_equations(inner)
