"""The top token without all logits: NumPy's argmax, and the same attribution as from the logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.nn.top_token import BLOCK, ROWS, RUNS, top_token
from landed_jax.nn.unembedding import Unembedding
from tests.models import CONFIGS, random_params, random_tokens
from tests.traces import asked_by

# one run, a prime beyond their number, a few runs, all runs of one token and of several
VOCABULARIES = (7, 2 * RUNS + 1, 4 * 101, RUNS, 4 * RUNS)


def mean_row(W_U: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return Unembedding(W_U).mean_row(dtype)


@pytest.mark.quick
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("shape", [(1, 1), (1, ROWS), (1, 2 * ROWS + 3), (3, 100), (ROWS + 2, 2)])
def test_it_is_numpys_argmax(shape: tuple[int, int], vocabulary: int) -> None:
    random = np.random.default_rng(0)
    # Small whole numbers: every product is exact, and many tokens are equal.
    normed, W_U = random.integers(-2, 3, (*shape, 3)), random.integers(-2, 3, (vocabulary, 3))
    found = top_token(jnp.asarray(normed, jnp.float32), jnp.asarray(W_U, jnp.bfloat16))
    np.testing.assert_array_equal(found, np.argmax(normed @ W_U.T, axis=-1))


@pytest.mark.parametrize("vocabulary", [BLOCK, 2 * BLOCK, 2 * BLOCK + 3 * RUNS, 2 * BLOCK + 3])
@pytest.mark.parametrize(("shape", "dtype"), [((1, ROWS + 3), "bfloat16"), ((ROWS + 2, 2), "float32")])
def test_a_large_vocabulary_is_cut(shape: tuple[int, int], dtype: str, vocabulary: int) -> None:
    random = np.random.default_rng(0)
    normed, W_U = random.integers(-2, 3, (*shape, 3)), random.integers(-2, 3, (vocabulary, 3))
    given = jnp.asarray(normed, jnp.float32), jnp.asarray(W_U, dtype)
    np.testing.assert_array_equal(top_token(*given), np.argmax(normed @ W_U.T, axis=-1))
    broken = given[1].at[vocabulary // 2].set(jnp.nan)
    assert np.all(np.asarray(top_token(given[0], broken)) == vocabulary // 2)
    np.testing.assert_allclose(mean_row(given[1], jnp.float32), W_U.mean(axis=0), atol=1e-6)


@pytest.mark.xla
def test_narrow_weights_are_never_cast_whole() -> None:
    W_U = jax.ShapeDtypeStruct((8 * BLOCK, 32), jnp.bfloat16)
    for function, given in (
        (top_token, (jax.ShapeDtypeStruct((1, 16, 32), jnp.float32), W_U)),
        (lambda rows: mean_row(rows, jnp.float32), (W_U,)),
    ):
        needs = jax.jit(function).lower(*given).compile().memory_analysis()
        assert needs is not None
        assert needs.temp_size_in_bytes < 8 * BLOCK * 32 * 4 / 2


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_what_is_not_a_number_shows(vocabulary: int) -> None:
    W_U = np.ones((vocabulary, 3), np.float32)
    W_U[vocabulary // 2] = np.nan
    assert top_token(jnp.ones((1, 2, 3)), jnp.asarray(W_U)).tolist() == [[vocabulary // 2] * 2]


@pytest.mark.xla
def test_under_vmap_and_never_all_logits() -> None:
    random = np.random.default_rng(0)
    normed, W_U = random.standard_normal((4, 2, 80, 8)), random.standard_normal((512, 8))
    mapped = jax.vmap(top_token, in_axes=(0, None))(jnp.asarray(normed), jnp.asarray(W_U))
    np.testing.assert_array_equal(mapped, np.argmax(normed @ W_U.T, axis=-1))
    shapes = jax.ShapeDtypeStruct((1, 16 * ROWS, 8), jnp.float32), jax.ShapeDtypeStruct((512, 8), jnp.float32)
    needs = jax.jit(top_token).lower(*shapes).compile().memory_analysis()
    assert needs is not None
    assert needs.temp_size_in_bytes < 16 * ROWS * 512 * 4 / 4


@pytest.mark.parametrize("asked", [{}, {"target": 1, "against": 2}, {"target": 1, "centred": True}], ids=str)
def test_a_trace_without_logits_reads_the_same(asked: dict, x64: None) -> None:
    for config in CONFIGS.values():
        params, tokens = random_params(config, dtype=jnp.float64), random_tokens(config)
        with_logits = landed.Model(config, params).trace(tokens)
        _, trace = jax.jit(landed.forward, static_argnums=2)(params, tokens, config)
        assert trace.logits is None and with_logits.logits is not None
        found, expected = (landed.resolve(t, asked_by(**asked)) for t in (trace.bind(params), with_logits))
        np.testing.assert_array_equal(found.target, expected.target)
        np.testing.assert_allclose(found.value, expected.value, atol=1e-12)
        np.testing.assert_allclose(found.vector, expected.vector, atol=1e-12)
