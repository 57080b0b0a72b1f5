"""Landed vectors and closure at every read site, against brute force."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax import NORMED, SOURCES, WRITES, HookPoint, LandedError, Tokens, Write
from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.stream_order import site_names
from tests.models import BIASED, CONFIGS, NAMES, SMALL, configs, n_sites, random_params, random_tokens
from tests.reference.landed import every_write, land
from tests.reference.numpy_model import numpy_forward
from tests.traces import asked_by, unembedding

RECORD = WRITES | NORMED | SOURCES
closure = jax.jit(landed.closure_error)


def traced(config: ModelConfig, params: dict, tokens: Tokens, dtype: str | None = None) -> landed.Trace:
    run = jax.jit(landed.forward, static_argnames=("config", "record", "dtype"))
    _, trace = run(params, tokens, config, record=RECORD, dtype=dtype)
    return trace.bind(params)


@pytest.mark.quick
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stacked", [False, True], ids=["subtrees", "stacked"])
def test_land_at_every_later_site(name: str, stacked: bool, x64: None) -> None:
    config = CONFIGS[name]
    params, tokens = random_params(config, dtype=jnp.float64), random_tokens(config)
    trace = traced(config, stack_layers(params) if stacked else params, tokens)
    numbers = numpy_forward(params, tokens.ids, tokens.mask, config)
    sites = site_names(config)
    for b, p in ((0, -1), (1, 2)):
        written = every_write(numbers, config, b, p)
        for (kind, layer, index), vector, first in zip(written.names, written.vectors, written.sites, strict=True):
            if index not in (None, 0, 1):
                continue
            expert = None
            if config.n_experts and kind == "neuron":  # of the one that the position chose first
                expert = int(numbers["expert"][layer, b, p, 0])
            write = Write(kind, layer, index, batch=b, position=p, expert=expert)
            for site in range(first, len(sites)):
                expected = land(vector, numbers, config, site, b, p)
                np.testing.assert_allclose(landed.land(trace, [write], site=sites[site])[0], expected, atol=1e-12)
            both = [landed.land(trace, [write], site=site)[0] for site in ("next", sites[first])]
            np.testing.assert_array_equal(*both)
            if first:
                with pytest.raises(LandedError, match="before"):
                    landed.land(trace, [write], site=sites[first - 1])


def size_of_terms(trace: landed.Trace, params: dict) -> np.ndarray:
    """``[site, batch, position, d_model]``: what is summed at each site, every product taken at its absolute value."""
    z, a = (np.abs(np.asarray(trace[site], float)) for site in (HookPoint.HEAD, HookPoint.NEURON))
    sizes = [sum(np.abs(np.asarray(written, float)) for written in trace.embeddings.values())]
    for i in range(len(z)):
        part = jax.tree.map(lambda leaf: np.abs(np.asarray(leaf, float)), params["layers"][str(i)])
        attn = part["attn"]
        sizes.append(sizes[-1] + np.einsum("bphi,dhi->bpd", z[i], attn["W_O"]) + attn.get("b_O", 0))
        if trace.chosen is None:
            of_mlp = a[i] @ part["mlp"]["W_down"].T + part["mlp"].get("b_down", 0)
        else:
            ids, weights = (np.asarray(leaf[i]) for leaf in (trace.chosen.ids, trace.chosen.weights))
            own = a[i].reshape(*ids.shape, -1)
            of_mlp = np.einsum("bpkj,bpkdj->bpd", own, part["experts"]["W_down"][ids])
            biases = part["experts"].get("b_down", np.zeros((trace.config.n_experts, 1)))
            of_mlp = of_mlp + np.einsum("bpk,bpkd->bpd", weights, biases[ids])
        sizes.append(sizes[-1] + of_mlp)
    terms = np.stack(sizes)[trace.order.writes_before]
    if trace.config.norm == "layer":  # a mean is a sum of all coordinates' terms
        terms = terms + terms.mean(-1, keepdims=True)
    gamma, sigma = np.abs(np.asarray(trace.gamma)), np.asarray(trace.sigma)
    beta = 0 if trace.beta is None else np.abs(np.asarray(trace.beta))[:, None, None]
    return terms * gamma[:, None, None] / sigma[..., None] + beta


def check_closure(config: ModelConfig, seed: int, lengths: tuple[int, ...], dtype: str, bar: float) -> np.ndarray:
    """Landed writes sum to what is heard, but for the rounding of what is summed; returns the closure error.

    Where terms cancel, the sum is small beside them and keeps few of their digits: a bound on rounding speaks of the
    terms (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2).
    """
    params = random_params(config, seed, dtype)
    tokens = random_tokens(config, seed, lengths)
    trace = traced(config, params, tokens, dtype)
    error, heard = np.asarray(closure(trace).error), np.asarray(trace.normed)
    assert error.shape == (2 * config.n_layers + 1, len(lengths), max(lengths))
    rounding = bar * size_of_terms(trace, params).max(-1)
    np.testing.assert_array_less(error * np.abs(heard).max(-1), rounding + np.finfo(dtype).tiny)
    if dtype == "float32":  # such a model drifts from the one below on its way
        return error
    # And independently: the writes made one by one, landed and summed, are what the norm put out.
    numbers = numpy_forward(params, tokens.ids, tokens.mask, config)
    for b, p in np.argwhere(np.asarray(tokens.mask)):
        written = every_write(numbers, config, b, p)
        for site in range(n_sites(config)):
            expected = land(written.vectors[written.sites <= site].sum(0), numbers, config, site, b, p)
            expected += numbers["beta"][site]
            atol = max(10 * bar, 10 * rounding[site, b, p])
            np.testing.assert_allclose(heard[site, b, p], expected, rtol=0, atol=atol)
    return error


_SHAPE = {"vocab_size": 10, "d_model": 1, "n_layers": 3, "n_heads": 2, "head_dim": 6, "d_ff": 6, "max_positions": 2}
_KIND = {"activation": "relu2", "norm_eps": 1e-6, "mlp_bias": True, "tie_embeddings": True}
CANCELLING = dataclasses.replace(SMALL, **_SHAPE, **_KIND, rope=RopeConfig(theta=100.0, original_max_positions=16))
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple)


@settings(max_examples=10)  # each is another model, and compiles
@given(configs(), st.integers(0, 99), shapes)
def test_closure_at_every_read_site_float64(config: ModelConfig, seed: int, lengths: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        check_closure(config, seed, lengths, "float64", 1e-12)


@settings(max_examples=10)  # each is another model, and compiles
@given(configs(), st.integers(0, 99), shapes)
def test_closure_at_every_read_site_float32(config: ModelConfig, seed: int, lengths: tuple[int, ...]) -> None:
    check_closure(config, seed, lengths, "float32", 1e-5)


def test_closure_where_writes_cancel() -> None:
    # Of one coordinate: with this seed the stream is thousands of times smaller than what it is the sum of.
    assert check_closure(CANCELLING, 72, (1, 2), "float32", 1e-5).max() > 1e-5


@pytest.mark.quick
def test_a_source_tokens_write_is_its_part_of_the_head() -> None:
    trace = traced(SMALL, random_params(SMALL), random_tokens(SMALL))
    for layer, head in ((0, 1), (1, 3)):
        parts = [Write("head", layer, head, source=k) for k in range(5)]
        whole = landed.writes.write_vector(trace, Write("head", layer, head))
        np.testing.assert_allclose(sum(landed.writes.write_vector(trace, part) for part in parts), whole, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_by_source_sums_to_the_heads_and_equals_brute_force(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params, tokens = random_params(config, dtype=jnp.float64), random_tokens(config)
    trace = traced(config, params, tokens)
    for arguments in ({"target": 1}, {"target": jnp.array([1, 2]), "against": 0}, {}):
        split = np.asarray(landed.attribute_by_source(trace, asked_by(**arguments)).landed)
        heads = landed.attribute(trace, asked_by(**arguments), effects=False).landed.heads
        np.testing.assert_allclose(split.sum(-1), heads, atol=1e-12)
    numbers = numpy_forward(params, tokens.ids, tokens.mask, config)
    split = np.asarray(landed.attribute_by_source(trace, 1).landed)
    direction = unembedding(params, config)[1]
    for layer in range(config.n_layers):
        W_O = np.asarray(params["layers"][str(layer)]["attn"]["W_O"])
        for head in range(config.n_heads):
            for k in range(5):
                value = numbers["v"][layer, 0, k, head // config.group_size]
                written = numbers["attn_scale"][layer, 0, 4] * (W_O[:, head] @ value)
                write = numbers["pattern"][layer, 0, head, 4, k] * written
                expected = land(write, numbers, config, -1, 0, 4) @ direction
                np.testing.assert_allclose(split[layer, 0, 4, head, k], expected, atol=1e-12)


def test_land_under_jit_vmap_and_grad() -> None:
    trace = traced(SMALL, random_params(SMALL), random_tokens(SMALL))
    writes = [Write("head", 0, 1), Write("neuron", 1, 4), Write("embedding", position=2)]
    plain = landed.land(trace, writes, site="final")
    np.testing.assert_allclose(jax.jit(lambda t: landed.land(t, writes, site="final"))(trace), plain, atol=1e-6)
    scaled = jax.vmap(lambda s: landed.land(_scale(trace, s), writes, site="final"))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(scaled[1], scaled[0] / 2, atol=1e-6)
    slope = jax.grad(lambda s: landed.land(_scale(trace, s), writes, site="final").sum())(1.0)
    np.testing.assert_allclose(slope, -plain.sum(), rtol=1e-4)


def _scale(trace: landed.Trace, s: jax.Array) -> landed.Trace:
    return dataclasses.replace(trace, sown={**trace.sown, "final_sigma": trace.sown["final_sigma"] * s})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (Write("head", 2, 0), "layers run from 0 to 1"),
        (Write("head", 0, 4), "heads run from 0 to 3"),
        (Write("neuron", 0, None), "neurons run"),
        (Write("head", 0, 0, position=7), "outside the prompt"),
        (Write("head", 0, 0, batch=2), "no prompt 2"),
        (Write("head", 0, 0, batch=1, position=0), "Position 0 of prompt 1 is padding"),
        (Write("head", 0, 0, source=99), "no source 99"),
        (Write("neuron", 0, 0, source=1), "only a head"),
    ],
)
def test_writes_that_are_not_there(write: Write, message: str) -> None:
    trace = traced(SMALL, random_params(SMALL), random_tokens(SMALL))
    with pytest.raises(LandedError, match=message):
        landed.land(trace, [write], site="next")


def test_a_vector_on_padding_is_refused_as_a_row_is() -> None:
    trace = traced(SMALL, random_params(SMALL), random_tokens(SMALL))
    with pytest.raises(LandedError, match="Position -4 of prompt 1 is padding"):
        landed.writes.write_vector(trace, Write("neuron", 0, 2, batch=1, position=-4))
    right = dataclasses.replace(trace.tokens, mask=trace.tokens.mask[:, ::-1])
    padded = dataclasses.replace(trace, provenance=dataclasses.replace(trace.provenance, tokens=right))
    with pytest.raises(LandedError, match="padding"):  # the last column, which a write names by default
        landed.land(padded, [Write("embedding", batch=1)], site="next")


def test_a_site_that_is_not_there() -> None:
    trace = traced(BIASED, random_params(BIASED), random_tokens(BIASED))
    with pytest.raises(LandedError, match="not a read site"):
        landed.land(trace, [Write("embedding")], site="9.attn")


def test_a_zero_embedding_on_padding_closes() -> None:
    params = random_params(SMALL)
    params["embed"]["W_E"] = params["embed"]["W_E"].at[0].set(0.0)
    assert float(closure(traced(SMALL, params, random_tokens(SMALL))).error.max()) < 1e-5
