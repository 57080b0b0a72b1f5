"""Products with the chosen experts' weights, against einsums over gathered weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landed_jax.nn.expert_products import _ragged, expert_contract, expert_linear, of_chosen

# Experts, outputs, inputs, rows: more rows than experts, fewer, one, and blocks of several rows.
SIZES = [(5, 4, 6, 12), (16, 3, 5, 7), (4, 3, 2, 1), (2, 3, 4, 75)]
BOTH = [expert_linear, expert_contract]


def by_gather(function: Any) -> Callable[..., jax.Array]:
    letters = "ri,roi->ro" if function is expert_linear else "ro,roi->ri"
    return lambda rows, weights, ids: jnp.einsum(letters, rows, weights[ids])


def drawn(function: Any, size: tuple[int, int, int, int]) -> tuple[jax.Array, jax.Array, jax.Array]:
    experts, outputs, inputs, count = size
    random = np.random.default_rng(0)
    weights = jnp.asarray(random.standard_normal((experts, outputs, inputs)))
    rows = jnp.asarray(random.standard_normal((count, inputs if function is expert_linear else outputs)))
    return rows, weights, jnp.asarray(random.integers(0, experts, count), jnp.int32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("function", BOTH)
def test_values_and_slopes_are_those_of_gathered_weights(function: Any, size: tuple, x64: None) -> None:
    rows, weights, ids = drawn(function, size)
    plain = by_gather(function)
    np.testing.assert_allclose(jax.jit(function)(rows, weights, ids), plain(rows, weights, ids), atol=1e-13)
    np.testing.assert_allclose(
        _ragged(rows, weights, ids, function is expert_linear), plain(rows, weights, ids), atol=1e-13
    )
    slopes = [jax.jit(jax.grad(lambda r, w, f=f: jnp.sum(f(r, w, ids) ** 3), (0, 1))) for f in (function, plain)]
    for found, expected in zip(*(slope(rows, weights) for slope in slopes), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-11)

    def curved(f: Any) -> Callable[[jax.Array], jax.Array]:
        return jax.grad(lambda r: jnp.sum(jax.grad(lambda r: jnp.sum(f(r, weights, ids) ** 3))(r) ** 2))

    np.testing.assert_allclose(jax.jit(curved(function))(rows), curved(plain)(rows), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axes", [(0, None, None), (0, None, 0), (None, None, 0), (0, 0, 0), (None, 0, None)])
@pytest.mark.parametrize("function", BOTH)
def test_vmap_over_any_argument(function: Any, axes: tuple, x64: None) -> None:
    rows, weights, ids = drawn(function, SIZES[0])
    many = jnp.stack([rows, 2 * rows]), jnp.stack([weights, -weights]), jnp.stack([ids, ids[::-1]])
    given = [two if axis == 0 else one for axis, two, one in zip(axes, many, (rows, weights, ids), strict=True)]
    for f, g in (
        (function, by_gather(function)),
        *(
            tuple(
                jax.grad(lambda r, w, i, f=f: jnp.sum(f(r, w, i) ** 2), which) for f in (function, by_gather(function))
            )
            for which in (0, 1)
        ),
    ):
        found, expected = (jax.jit(jax.vmap(each, axes))(*given) for each in (f, g))
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("positions", [1, 4])  # fewer chosen than there are experts, and more
def test_what_depends_on_the_weights_alone_stands_behind_each_other(positions: int, x64: None) -> None:
    weights = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3, 4)))
    ids = jnp.asarray(np.random.default_rng(1).integers(0, 6, (2, positions, 2)), jnp.int32)
    found = of_chosen(lambda W: jnp.stack([W[0], jnp.sum(W**2, axis=0)]), weights, ids, weights.dtype)
    assert found.shape == (2, 2, positions, 8)
    for b, p, slot in np.ndindex(*ids.shape):
        own = np.asarray(weights[ids[b, p, slot]])
        np.testing.assert_allclose(found[:, b, p, 4 * slot : 4 * slot + 4], [own[0], (own**2).sum(0)], atol=1e-14)


@pytest.mark.xla
def test_no_expert_that_no_row_chose_is_computed() -> None:
    function = jax.jit(expert_linear)
    shapes = jax.ShapeDtypeStruct((32, 64), "float32"), jax.ShapeDtypeStruct((64, 64, 64), "bfloat16")
    compiled = function.lower(*shapes, jax.ShapeDtypeStruct((32,), "int32")).compile()
    # Neither all experts' products nor all their weights in the rows' type.
    assert compiled.memory_analysis().temp_size_in_bytes < 64 * 64 * 64 * 4 // 4


def test_lowers_for_every_platform_with_narrow_weights() -> None:
    shapes = (
        jax.ShapeDtypeStruct((3, 7, 5), "float32"),
        jax.ShapeDtypeStruct((3, 4, 5), "bfloat16"),
        jax.ShapeDtypeStruct((3, 7), "int32"),
    )
    mapped = jax.jit(jax.vmap(expert_linear, (0, None, 0)))
    assert jax.export.export(mapped, platforms=("cpu", "cuda", "tpu"))(*shapes).platforms == ("cpu", "cuda", "tpu")
