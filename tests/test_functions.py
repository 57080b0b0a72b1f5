"""The pure functions of the decoder, where they take another way for other sizes."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import landed_jax as landed
from landed_jax.forward_pass import forward
from landed_jax.nn import products
from landed_jax.nn.products import CACHED_BYTES, FEW_ROWS, contract_output, linear
from tests.models import SMALL, random_params


@pytest.mark.quick
@pytest.mark.parametrize("rows", [(), (0,), (1,), (3, 5), (2, 28), (1, 55), (FEW_ROWS,), (2, FEW_ROWS)])
def test_products_are_numpys_for_few_rows_and_many(
    rows: tuple[int, ...], x64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    x, weight = random.standard_normal((*rows, 6)), random.standard_normal((9, 6))
    np.testing.assert_allclose(linear(jnp.asarray(x), jnp.asarray(weight)), x @ weight.T, atol=1e-12)
    np.testing.assert_allclose(contract_output(jnp.asarray(x), jnp.asarray(weight.T)), x @ weight.T, atol=1e-12)
    monkeypatch.setattr(products, "CACHED_BYTES", 0)  # the form for large matrices
    np.testing.assert_allclose(contract_output(jnp.asarray(x), jnp.asarray(weight.T)), x @ weight.T, atol=1e-12)
    single, narrow = jnp.asarray(x, jnp.float32), jnp.asarray(weight, jnp.bfloat16)
    np.testing.assert_array_equal(linear(single, narrow), linear(single, narrow.astype(jnp.float32)))
    if rows:
        mapped = jax.vmap(linear, in_axes=(0, None))(jnp.asarray(x), jnp.asarray(weight))
        np.testing.assert_allclose(mapped, x @ weight.T, atol=1e-12)
    slope = jax.grad(lambda w: jnp.sum(linear(jnp.asarray(x), w) ** 2))(jnp.asarray(weight))
    flat = x.reshape(-1, 6)
    np.testing.assert_allclose(slope, 2 * (flat @ weight.T).T @ flat, atol=1e-9)


@pytest.mark.xla
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA multiplies on CPU")
@pytest.mark.parametrize(("rows", "inputs", "axis"), [(32, 2048, 0), (64, 2048, 1), (32, 512, 1)])
def test_the_compiler_leaves_the_contraction_as_it_is(rows: int, inputs: int, axis: int) -> None:
    # Turned round, the same product takes up to twice as long; nothing but the program's text shows it.
    shapes = jax.ShapeDtypeStruct((1, rows, 1024), jnp.float32), jax.ShapeDtypeStruct((1024, inputs), jnp.float32)
    program = jax.jit(contract_output).lower(*shapes).compile().as_text()
    assert program is not None
    lines = [line for line in program.splitlines() if " dot(" in line]
    assert len(lines) == 1 and f"lhs_contracting_dims={{{axis}}}" in lines[0]


@pytest.mark.xla
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA fuses on CPU")
def test_cosines_are_computed_once() -> None:
    shapes = jax.eval_shape(lambda: random_params(SMALL)), jax.ShapeDtypeStruct((1, 32), jnp.int32)
    program = jax.jit(lambda params, ids: forward(params, ids, SMALL)).lower(*shapes).compile().as_text()
    # Once, and in the branch that is never taken: not at the queries and keys of each layer.
    assert program is not None and program.count(" cosine(") == 2


@pytest.mark.xla
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA casts on CPU")
def test_narrow_weights_are_cast_one_layer_after_another() -> None:
    config = dataclasses.replace(SMALL, n_layers=8, d_model=64, d_ff=256, head_dim=16)
    params = jax.eval_shape(lambda: random_params(config, dtype=jnp.bfloat16))
    wide = 4 * sum(leaf.size for leaf in jax.tree.leaves(params["layers"]))
    for run in (
        lambda params, ids: forward(params, ids, config, record=())[0],
        lambda params, ids: (
            landed.attribute_streaming(params, ids, config, landed.reduce.top_writes(3), passes=2).reduced
        ),
    ):
        needs = jax.jit(run).lower(params, jax.ShapeDtypeStruct((1, 4), jnp.int32)).compile().memory_analysis()
        assert needs is not None
        assert needs.temp_size_in_bytes < wide / 3


@pytest.mark.xla
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA multiplies on CPU")
@pytest.mark.parametrize(("rows", "taken"), [(24, 24), (28, 32), (48, 48), (55, 64)])
def test_rows_are_filled_up_where_few_are_missing(rows: int, taken: int) -> None:
    shapes = jax.ShapeDtypeStruct((1, rows, 256), jnp.float32), jax.ShapeDtypeStruct((512, 256), jnp.float32)
    program = jax.jit(linear).lower(*shapes).compile().as_text()
    assert program is not None
    lines = [line for line in program.splitlines() if " dot(" in line]
    assert len(lines) == 1 and f" = f32[512,{taken}]" in lines[0]


# Rows of which two shards' and one's are filled up; and both forms of the contraction.
@pytest.mark.parametrize(
    ("product", "rows", "cached"), [(linear, 56, 0), (contract_output, 6, CACHED_BYTES), (contract_output, 6, 0)]
)
def test_the_slope_of_a_narrow_weight_is_the_wide_ones_rounded(
    product: Callable[..., jax.Array], rows: int, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "CACHED_BYTES", cached)
    random = np.random.default_rng(0)
    x, towards = (jnp.asarray(random.standard_normal((rows, 6)), jnp.float32) for _ in range(2))
    narrow = jnp.asarray(random.standard_normal((6, 6)), jnp.bfloat16)

    def value(weight: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.vdot(towards, product(x, weight))

    found, of_x = jax.jit(jax.grad(value, argnums=(0, 1)))(narrow, x)
    expected, expected_of_x = jax.jit(jax.grad(value, argnums=(0, 1)))(narrow.astype(jnp.float32), x)
    np.testing.assert_array_equal(found, expected.astype(jnp.bfloat16))
    np.testing.assert_allclose(of_x, expected_of_x, rtol=1e-5)
    both = jax.vmap(product, in_axes=(None, 0))(x, jnp.stack([narrow, 2 * narrow]))
    np.testing.assert_allclose(both[1], 2 * product(x, narrow), rtol=1e-5)
    _, ahead = jax.jit(lambda w: jax.jvp(lambda w: value(w, x), (w,), (jnp.ones_like(w),)))(narrow)
    np.testing.assert_allclose(ahead, np.sum(np.asarray(expected, np.float64)), rtol=1e-4)
    mesh, cut = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    spread = jax.shard_map(
        lambda x, towards, weight: jnp.vdot(towards, product(x, weight))[None],
        mesh=mesh,
        in_specs=(cut, cut, PartitionSpec()),
        out_specs=cut,
    )
    of_shards = jax.jit(jax.grad(lambda weight: jnp.sum(spread(x, towards, weight))))(narrow)
    np.testing.assert_allclose(of_shards.astype(jnp.float32), expected, rtol=0.02, atol=0.02)
