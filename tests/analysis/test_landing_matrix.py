"""Every write at every read site after it, against every write made as a vector in NumPy and float64."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import NORMED, RESIDUALS, SOURCES, WRITES, LandedError, Trace, Write
from landed_jax.analysis.landing._landing_matrix import LandingMatrix, landing_matrix
from landed_jax.nn import PerWrite
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.stream_order import StreamOrder, site_names
from tests.models import BIASED, CONFIGS, HELD, NAMES, SMALL, as_they_are, n_sites, random_params, random_tokens
from tests.reference.landed import every_write, heard
from tests.reference.numpy_model import Arrays, numpy_forward

RECORD = WRITES | RESIDUALS
# Of one layer, with every bias: enough where what is tested is a transform or an argument, and it compiles quickly.
SHORT = dataclasses.replace(BIASED, n_layers=1)
Hold = Callable[[dict], dict]
run = jax.jit(landed.forward, static_argnames=("config", "record"))


def traced(config: ModelConfig, params: dict, lengths: tuple[int, ...] = (5, 3), record=RECORD, **arguments) -> Trace:
    return run(params, random_tokens(config, lengths=lengths), config, record=record, **arguments)[1].bind(params)


@functools.cache
def exact(name: str, lengths: tuple[int, ...] = (5, 3)) -> tuple[dict, Arrays]:
    """A model's parameters and every number of its forward pass, in float64."""
    config = CONFIGS[name]
    params, tokens = random_params(config, dtype=jnp.float64), random_tokens(config, lengths=lengths)
    return params, numpy_forward(params, tokens.ids, tokens.mask, config)


def directions(config: ModelConfig, kind: str, lengths: tuple[int, ...] = (5, 3)) -> np.ndarray:
    shape = {
        "one": (),
        "position": (1, max(lengths)),
        "prompt": (len(lengths), 1),
        "each": (len(lengths), max(lengths)),
    }
    return np.random.default_rng(3).standard_normal((*shape[kind], config.d_model))


def column(part: PerWrite, b: int, p: int) -> np.ndarray:
    """``[site, write]`` of one position, in the order of `every_write`."""
    values = [np.asarray(embedding)[:, b, p, None] for embedding in part.embeddings.values()]
    for layer in range(part.heads.shape[1]):
        values += [np.asarray(part.heads)[:, layer, b, p], np.asarray(part.neurons)[:, layer, b, p]]
        values += [np.asarray(kind)[:, layer, b, p, None] for kind in (part.attn_bias, part.mlp_bias)]
    return np.concatenate(values, axis=1)


def brute_force(numbers: Arrays, config: ModelConfig, b: int, p: int) -> np.ndarray:
    """``[site, write, d_model]`` landed vectors, 0 before the write."""
    written = every_write(numbers, config, b, p)
    after = np.arange(n_sites(config))[:, None] >= written.sites
    scale = numbers["gamma"] / numbers["sigma"][:, b, p, None]
    return heard(written.vectors, config) * scale[:, None] * after[..., None]


@pytest.mark.parametrize(
    ("name", "kind", "hold"),
    [
        ("biased", "one", as_they_are),
        ("biased", "each", stack_layers),
        ("small", "prompt", as_they_are),
        ("windowed", "position", stack_layers),
        ("layer_norm", "each", as_they_are),
        ("parallel", "position", as_they_are),
        ("parallel", "one", stack_layers),
        ("experts", "each", stack_layers),
        ("experts", "one", as_they_are),
    ],
)
def test_every_landing_equals_brute_force(name: str, kind: str, hold: Hold, x64: None) -> None:
    config = CONFIGS[name]
    params, numbers = exact(name)
    vector = directions(config, kind)
    trace = traced(config, hold(params))
    matrix = landing_matrix(trace, jnp.asarray(vector))
    assert matrix.projection is not None and matrix.closure_error is not None and matrix.value is not None
    wide = np.broadcast_to(vector, (2, 5, config.d_model))
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        vectors = brute_force(numbers, config, b, p)
        np.testing.assert_allclose(column(matrix.norm, b, p), np.linalg.norm(vectors, axis=-1), atol=1e-12)
        np.testing.assert_allclose(column(matrix.projection, b, p), vectors @ wide[b, p], atol=1e-12)
        np.testing.assert_allclose(matrix.value[:, b, p], vectors.sum(1) @ wide[b, p], atol=1e-11)
    assert matrix.closure_error.shape == (n_sites(config), 2, 5)
    assert float(matrix.closure_error.max()) <= 1e-11


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_before_a_write_is_exactly_nothing(name: str) -> None:
    config = CONFIGS[name]
    params = random_params(config)
    trace = traced(config, params)
    matrix = landing_matrix(trace, jnp.asarray(directions(config, "each"), jnp.float32))
    assert matrix.projection is not None
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    written = every_write(numbers, config, 0, 0)
    heard = np.arange(n_sites(config))[:, None] >= written.sites
    there = heard & written.vectors.any(axis=-1)  # a bias that the model does not have is nothing anywhere
    np.testing.assert_array_equal(column(matrix.norm, 0, 0) != 0, there)
    np.testing.assert_array_equal(column(matrix.projection, 0, 0) != 0, there)
    for (kind, layer, _), column_of in zip(written.names, heard.T, strict=True):
        if layer is not None:
            after = matrix.after_attn if kind in ("head", "attn_bias") else matrix.after_mlp
            np.testing.assert_array_equal(after[:, layer], column_of)


@pytest.mark.quick
@pytest.mark.parametrize(("name", "hold"), HELD)
def test_closes_in_float32_at_every_site(name: str, hold: Hold) -> None:
    config = CONFIGS[name]
    vector = jnp.asarray(directions(config, "each"), jnp.float32)
    matrix = landing_matrix(traced(config, hold(random_params(config))), vector)
    assert matrix.projection is not None and matrix.closure_error is not None
    size = jax.tree.map(jnp.abs, matrix.projection).total()
    assert float((matrix.closure_error / size).max()) <= 1e-5


@pytest.mark.parametrize("record", [WRITES, WRITES | NORMED, RECORD], ids=["writes", "normed", "residuals"])
def test_the_closure_error_is_there_where_the_trace_can_say(record: frozenset) -> None:
    params = random_params(SHORT)
    matrix = landing_matrix(traced(SHORT, params, record=record), jnp.ones(SHORT.d_model))
    assert (matrix.closure_error is None) == (record == WRITES)
    assert (matrix.value is None) == (record == WRITES)
    if matrix.closure_error is not None:
        assert float(matrix.closure_error.max()) < 1e-5
    alone = landing_matrix(traced(SHORT, params, record=record))
    assert alone.projection is None and alone.closure_error is None
    np.testing.assert_allclose(alone.norm.neurons, matrix.norm.neurons, rtol=1e-6)


def test_an_edited_stream_shows_in_the_closure_error() -> None:
    params = random_params(SMALL)
    edits = {landed.HookPoint.MLP_RESIDUAL: lambda x, layer: jnp.where(layer == 1, x + 0.5, x)}
    edited = jax.jit(lambda p, tokens: landed.forward(p, tokens, SMALL, record=RECORD, edits=edits)[1])
    trace = edited(params, random_tokens(SMALL))
    error = landing_matrix(trace.bind(params), jnp.ones(SMALL.d_model)).closure_error
    assert error is not None
    assert float(error[:3].max()) < 1e-5 < 1e-2 < float(error[3].min())


@pytest.mark.parametrize(("position", "lengths"), [(-1, (5, 3)), (3, (5, 3)), (0, (1, 1))])
def test_one_recorded_position(position: int, lengths: tuple[int, ...], x64: None) -> None:
    params, numbers = exact("biased", lengths)
    matrix = landing_matrix(traced(BIASED, params, lengths, at=jnp.array([position])))
    for b in range(2):
        vectors = brute_force(numbers, BIASED, b, position)
        np.testing.assert_allclose(column(matrix.norm, b, 0), np.linalg.norm(vectors, axis=-1), atol=1e-12)
    head = matrix.of(Write("head", 1, 2, batch=1, position=position))
    assert head.final.norm == matrix.norm.heads[-1, 1, 1, 0, 2]


def test_of_every_write_equals_brute_force(x64: None) -> None:
    params, numbers = exact("biased")
    vector = directions(BIASED, "one")
    matrix = jax.tree.map(np.asarray, landing_matrix(traced(BIASED, params), jnp.asarray(vector)))
    for b, p in ((0, -1), (0, 2), (1, -3)):
        written = every_write(numbers, BIASED, b, p)
        vectors = brute_force(numbers, BIASED, b, p)
        for u, ((kind, layer, index), first) in enumerate(zip(written.names, written.sites, strict=True)):
            write = Write(kind, layer, index, batch=b, position=p)
            found, names = matrix.of(write), site_names(BIASED)[first:]
            assert found.write == write and found.sites == names
            np.testing.assert_allclose(found.norm, np.linalg.norm(vectors[first:, u], axis=-1), atol=1e-12)
            np.testing.assert_allclose(found.projection, vectors[first:, u] @ vector, atol=1e-12)
            for one, place in ((found.next, 0), (found.final, -1)):
                assert (one.site, one.norm, one.projection) == (
                    names[place],
                    found.norm[place],
                    found.projection[place],
                )


def test_next_and_final_of_every_write() -> None:
    matrix = jax.tree.map(np.asarray, landing_matrix(traced(BIASED, random_params(BIASED))))
    first, last = matrix.norm.next(StreamOrder.of(BIASED)), matrix.norm.final
    for kind, index in (("head", 2), ("neuron", 5), ("attn_bias", None), ("mlp_bias", None)):
        name = {"head": "heads", "neuron": "neurons"}.get(kind, kind)
        for layer in range(BIASED.n_layers):
            one = matrix.of(Write(kind, layer, index, batch=1, position=3))
            place = (layer, 1, 3) if index is None else (layer, 1, 3, index)
            assert one.next.norm == getattr(first, name)[place]
            assert one.final.norm == getattr(last, name)[place]
    one = matrix.of(Write("embedding", batch=1, position=3))
    assert (one.next.norm, one.final.norm) == (first.embedding[1, 3], last.embedding[1, 3])
    assert one.next.site == "0.attn" and one.final.site == "final"


def test_a_source_tokens_write_lands_at_every_later_site(x64: None) -> None:
    params, numbers = exact("biased")
    trace = traced(BIASED, params, record=WRITES | SOURCES)
    for layer, head, source in ((0, 1, 2), (1, 2, 0), (1, 0, 4)):
        value = numbers["v"][layer, 0, source, head // BIASED.group_size]
        W_O = np.asarray(params["layers"][str(layer)]["attn"]["W_O"])[:, head]
        written = numbers["pattern"][layer, 0, head, 4, source] * (W_O @ value)
        for site in range(2 * layer + 1, n_sites(BIASED)):
            expected = written * numbers["gamma"][site] / numbers["sigma"][site, 0, 4]
            write = Write("head", layer, head, position=4, source=source)
            found = landed.land(trace, [write], site=site_names(BIASED)[site])[0]
            np.testing.assert_allclose(found, expected, atol=1e-12)


def test_jit_and_vmap_over_prompts_and_over_vectors() -> None:
    params, ids = random_params(SHORT), jnp.array([[1, 5, 2], [3, 3, 8]])
    vectors = jnp.asarray(np.random.default_rng(0).standard_normal((4, SHORT.d_model)), jnp.float32)

    def matrix(row: jax.Array, vector: jax.Array) -> LandingMatrix:
        _, trace = landed.forward(params, row[None], SHORT, record=RECORD)
        return landing_matrix(trace.bind(params), vector)

    whole = landing_matrix(run(params, ids, SHORT, record=RECORD)[1].bind(params), vectors[1])
    many = jax.jit(jax.vmap(jax.vmap(matrix, (None, 0)), (0, None)))(ids, vectors)
    assert whole.projection is not None
    for kind in ("embedding", "heads", "neurons", "attn_bias", "mlp_bias"):
        axis = 1 if kind == "embedding" else 2
        for mine, all_of_it in ((many.norm, whole.norm), (many.projection, whole.projection)):
            each = np.moveaxis(np.asarray(getattr(mine, kind))[:, 1], 0, axis).squeeze(axis + 1)
            np.testing.assert_allclose(each, getattr(all_of_it, kind), atol=2e-5)


def test_grad_matches_finite_differences(x64: None) -> None:
    params = random_params(SHORT, dtype=jnp.float64)
    params["embed"]["W_E"] = params["embed"]["W_E"].at[0].set(0.0)  # a stream of zeros must not spoil the slope
    ids = jnp.array([[1, 0, 5]])
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)
    step["embed"]["W_E"] = step["embed"]["W_E"].at[0].set(0.0)

    @jax.jit
    def reduced(h: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda v, s: v + h * s, params, step)
        _, trace = landed.forward(moved, ids, SHORT, record=RECORD)
        matrix = landing_matrix(trace.bind(moved), jnp.ones(SHORT.d_model))
        return matrix.norm.total().sum() + jnp.sin(matrix.projection.total()).sum()

    slope = jax.jit(jax.grad(reduced))(0.0)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (reduced(1e-6) - reduced(-1e-6)) / 2e-6, rtol=1e-5)


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SHORT, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    one, other = (landing_matrix(traced(SHORT, p), jnp.ones(SHORT.d_model)) for p in (narrow, wide))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (Write("head", 2, 0), "layers run from 0 to 1"),
        (Write("neuron", 0, 10), "neurons run from 0 to 9"),
        (Write("head", 0, 0, batch=2), "no prompt 2"),
        (Write("head", 0, 0, position=1), "not recorded"),
        (Write("head", 0, 0, batch=1, position=0), "is padding"),
        (Write("head", 0, 0, source=1), r"land\(\) gives it"),
    ],
)
def test_writes_that_are_not_there(write: Write, message: str) -> None:
    matrix = landing_matrix(traced(SMALL, random_params(SMALL), at=jnp.array([-1])))
    with pytest.raises(LandedError, match=message):
        matrix.of(write)


def test_bad_arguments_say_so() -> None:
    trace = traced(SMALL, random_params(SMALL))
    with pytest.raises(LandedError, match="shape"):
        landing_matrix(trace, jnp.ones(11))
    with pytest.raises(LandedError, match="did not record head"):
        landing_matrix(traced(SMALL, random_params(SMALL), record=WRITES - {landed.HookPoint.HEAD}))
    with pytest.raises(LandedError, match="bind"):
        landing_matrix(run(random_params(SMALL), random_tokens(SMALL), SMALL, record=WRITES)[1])
