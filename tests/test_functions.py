"""The pure functions of the decoder, where they take another way for other sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from landed_jax.forward import forward
from landed_jax.nn.functions import (
    FEW_ROWS,
    attend,
    attention_mask,
    attention_pattern,
    contract_output,
    linear,
    mix_values,
)
from tests.models import SMALL, random_params


@pytest.mark.parametrize("rows", [(1,), (3, 5), (FEW_ROWS,), (FEW_ROWS + 1,), (2, FEW_ROWS)])
def test_products_are_numpys_for_few_rows_and_many(rows: tuple[int, ...], x64: None) -> None:
    random = np.random.default_rng(0)
    x, weight = random.standard_normal((*rows, 6)), random.standard_normal((9, 6))
    np.testing.assert_allclose(linear(jnp.asarray(x), jnp.asarray(weight)), x @ weight.T, atol=1e-12)
    np.testing.assert_allclose(contract_output(jnp.asarray(x), jnp.asarray(weight.T)), x @ weight.T, atol=1e-12)
    narrow = linear(jnp.asarray(x, jnp.float32), jnp.asarray(weight, jnp.bfloat16))
    assert narrow.dtype == jnp.float32
    mapped = jax.vmap(linear, in_axes=(0, None))(jnp.asarray(x), jnp.asarray(weight))
    np.testing.assert_allclose(mapped, x @ weight.T, atol=1e-12)
    slope = jax.grad(lambda w: jnp.sum(linear(jnp.asarray(x), w) ** 2))(jnp.asarray(weight))
    flat = x.reshape(-1, 6)
    np.testing.assert_allclose(slope, 2 * (flat @ weight.T).T @ flat, atol=1e-9)


@pytest.mark.parametrize("in_turn", [False, True], ids=["all heads at once", "key heads in turn"])
@pytest.mark.parametrize(("length", "window"), [(1, None), (64, 3), (65, None), (130, 3), (600, None)])
def test_attention_in_blocks_is_attention(
    length: int, window: int | None, in_turn: bool, x64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landed_jax.nn.functions.LARGE_SCORES", 0 if in_turn else 2**40)
    random = np.random.default_rng(0)
    q = jnp.asarray(random.standard_normal((2, length, 4, 6)))
    k, v = (jnp.asarray(random.standard_normal((2, length, 2, 6))) for _ in range(2))
    mask = np.ones((2, length), bool)
    mask[1, : length // 2] = False  # left padding, longer than a block
    visible = attention_mask(jnp.asarray(mask), window)
    pattern = attention_pattern(q, k, visible)
    scores = np.einsum("bqhd,bkhd->bhqk", q, np.repeat(k, 2, axis=2)) / 6**0.5
    scores = np.where(np.asarray(visible)[:, None], scores, -np.inf)
    expected = np.exp(scores - scores.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(pattern, expected, atol=1e-12)
    z = np.einsum("bhqk,bkhd->bqhd", expected, np.repeat(v, 2, axis=2))
    np.testing.assert_allclose(mix_values(pattern, v), z, atol=1e-12)
    # A function of its own, as a jitted one is kept from one setting to the next.
    blocks = jax.jit(lambda q, k, v: attend(q, k, v, visible))
    assert ("scan" in str(jax.make_jaxpr(blocks)(q, k, v))) == (in_turn and jax.default_backend() == "cpu")
    np.testing.assert_allclose(blocks(q, k, v), z, atol=1e-12)


def test_key_heads_in_turn_under_vmap_grad_and_shard_map(x64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    q = jnp.asarray(random.standard_normal((2, 70, 4, 6)))
    k, v = (jnp.asarray(random.standard_normal((2, 70, 2, 6))) for _ in range(2))
    visible = attention_mask(jnp.arange(70)[None] >= jnp.array([[0], [66]]))  # left padding, longer than a block
    weight = jnp.asarray(random.standard_normal(q.shape))

    def value(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = jax.vmap(lambda *one: attend(*(x[None] for x in one))[0])(q, k, v, visible)
        return jnp.sum(weight * mixed), mixed

    def whole(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.sum(weight * mix_values(attention_pattern(q, k, visible), v))

    monkeypatch.setattr("landed_jax.nn.functions.LARGE_SCORES", 0)
    slopes, mixed = jax.jit(jax.grad(value, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    np.testing.assert_allclose(mixed, mix_values(attention_pattern(q, k, visible), v), atol=1e-12)
    for found, expected in zip(slopes, jax.grad(whole, argnums=(0, 1, 2))(q, k, v), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-11)
    mesh, rows = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    cut = jax.shard_map(attend, mesh=mesh, in_specs=rows, out_specs=rows)
    np.testing.assert_allclose(jax.jit(cut)(q, k, v, visible), mixed, atol=1e-12)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA multiplies on CPU")
def test_the_compiler_leaves_the_contraction_as_it_is() -> None:
    # Turned round, the same product takes twice as long; nothing but the program's text shows it.
    shapes = jax.ShapeDtypeStruct((1, 32, 256), jnp.float32), jax.ShapeDtypeStruct((256, 512), jnp.float32)
    program = jax.jit(contract_output).lower(*shapes).compile().as_text()
    assert program is not None
    products = [line for line in program.splitlines() if " dot(" in line]
    assert len(products) == 1 and "lhs_contracting_dims={0}" in products[0]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA fuses on CPU")
def test_cosines_are_computed_once() -> None:
    shapes = jax.eval_shape(lambda: random_params(SMALL)), jax.ShapeDtypeStruct((1, 32), jnp.int32)
    program = jax.jit(lambda params, ids: forward(params, ids, SMALL)).lower(*shapes).compile().as_text()
    # Once, and in the branch that is never taken: not at the queries and keys of each layer.
    assert program is not None and program.count(" cosine(") == 2
