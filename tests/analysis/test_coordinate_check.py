"""Coordinates kept and ablated, against NumPy in float64."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, LandedError, Trace
from landed_jax.analysis.basis._coordinate_check import check_coordinates
from tests.coordinates import first_to_reach, heard, run, settled, traced
from tests.models import CONFIGS, FEW, SMALL, random_params, random_tokens
from tests.reference.numpy_model import soft_capped
from tests.traces import asked_by, numbers

checked = jax.jit(check_coordinates, static_argnames=("fraction", "rule"))


def place(logits: np.ndarray, token: int) -> int:
    return [int(t) for t in np.argsort(-logits, kind="stable")].index(token)


CHOICES = {
    "settled": ({"fraction": 0.9}, lambda parts: settled(list(parts), parts.sum(), 0.9)),
    "first": ({"fraction": 0.5, "rule": "first"}, lambda parts: first_to_reach(parts, 0.5)),
    "count": ({"count": 3}, lambda parts: 3),
}
# Each read with each model and each way to choose, in pairs.
SQUARE = [
    (name, read, list(CHOICES)[(i + j) % 3])
    for i, name in enumerate(CONFIGS)
    for j, read in enumerate(["token", "difference", "centred"])
]


@pytest.mark.quick
@pytest.mark.parametrize(("name", "read", "choice"), SQUARE)
def test_kept_and_ablated_coordinates_read_as_in_numpy(name: str, read: str, choice: str, x64: None) -> None:
    trace, config = traced(name, "float64"), CONFIGS[name]
    normed, W_U = heard(trace)
    beta = 0 if trace.beta is None else np.asarray(trace.beta[-1])
    own = np.random.default_rng(1).integers(0, config.vocab_size, normed.shape[:2])
    arguments, vectors = {
        "token": ({}, W_U[own]),
        "difference": ({"against": 1}, W_U[own] - W_U[1]),
        "centred": ({"centred": True}, W_U[own] - W_U.mean(0)),
    }[read]
    how, how_many = CHOICES[choice]
    question = asked_by(jnp.asarray(own), **arguments)
    found = jax.jit(partial(check_coordinates, **how))(trace, question)
    found = jax.tree.map(np.asarray, found)
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        parts = normed[b, p] * vectors[b, p]
        chosen = np.zeros(config.d_model, bool)
        chosen[np.argsort(-np.abs(parts), kind="stable")[: how_many(parts)]] = True
        np.testing.assert_array_equal(found.chosen[b, p], chosen)
        assert found.count[b, p] == how_many(parts)
        for reading, stream in (
            (found.whole, normed[b, p] + beta),
            (found.kept, normed[b, p] * chosen + beta),
            (found.ablated, normed[b, p] * ~chosen + beta),
        ):
            logits = W_U @ stream
            np.testing.assert_allclose(reading.value[b, p], stream @ vectors[b, p], atol=1e-12)
            np.testing.assert_allclose(reading.logit[b, p], logits[own[b, p]], atol=1e-12)
            if stream.any():
                assert reading.rank[b, p] == place(logits, int(own[b, p]))
            if read == "difference":
                np.testing.assert_allclose(reading.against_logit[b, p], logits[1], atol=1e-12)
            else:
                assert reading.against_logit is None


@pytest.mark.parametrize("name", FEW)
def test_the_whole_stream_gives_the_models_own_logits(name: str) -> None:
    trace = traced(name)
    found = checked(trace, fraction=0.9)
    np.testing.assert_array_equal(found.whole.rank, 0)
    np.testing.assert_allclose(
        soft_capped(np.asarray(found.whole.logit), trace.config.logit_cap), trace.logits.max(-1), atol=1e-5
    )
    offset = landed.resolve(trace, None).offset  # of the norm's own bias, which is part of all three
    np.testing.assert_allclose(found.kept.value + found.ablated.value - offset, found.whole.value, atol=1e-5)
    real = np.asarray(trace.tokens.mask)
    left, carried = (np.abs(np.asarray(reading.value - offset)) for reading in (found.ablated, found.whole))
    within = left <= 0.1 * carried * (1 + 1e-4)
    assert within[real].all()
    for count, full in ((0, "ablated"), (CONFIGS[name].d_model, "kept")):
        ends = checked(trace, count=count)
        np.testing.assert_array_equal(getattr(ends, full).value, ends.whole.value)
        np.testing.assert_array_equal(ends.count, count)


def test_equal_logits_stand_in_the_order_of_their_ids() -> None:
    trace = traced("small")
    for token in (0, 4, 12):
        nothing = checked(trace, jnp.asarray(token), count=0).kept
        np.testing.assert_array_equal(nothing.logit, 0)
        np.testing.assert_array_equal(nothing.rank, token)


def test_a_neurons_own_bias_stays_with_both_parts() -> None:
    trace = traced("biased")
    read = landed.resolve(trace, landed.Neuron(1, 3, "gate"))
    found = checked(trace, read, count=4)
    assert float(jnp.abs(read.offset)[0, 0]) > 0
    np.testing.assert_allclose(found.whole.value, read.value, atol=1e-5)
    np.testing.assert_allclose(found.kept.value + found.ablated.value - read.offset, read.value, atol=1e-5)
    assert found.kept.rank is None and found.kept.logit is None


def same(one: object, other: object, position: slice = slice(None)) -> None:
    for x, y in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_allclose(x, np.asarray(y)[:, position], atol=1e-5)


def test_one_position_and_stacked_parameters_give_the_same() -> None:
    for name, fields, position in (("small", {"at": (-1,)}, slice(4, 5)), ("biased", {"stacked": True}, slice(None))):
        whole = checked(traced(name), jnp.asarray(1), fraction=0.75)
        same(checked(traced(name, **fields), jnp.asarray(1), fraction=0.75), whole, position)


def test_checks_under_vmap_over_counts_and_targets() -> None:
    trace = traced("small")
    counts = jnp.array([0, 2, 7])
    many = jax.jit(jax.vmap(lambda n: check_coordinates(trace, 3, count=n)))(counts)
    targets = jax.jit(jax.vmap(lambda t: check_coordinates(trace, landed.Logit(t, against=0), fraction=0.5)))(counts)
    for i, n in enumerate(counts.tolist()):
        for found, alone in (
            (many, checked(trace, jnp.asarray(3), count=n)),
            (targets, checked(trace, landed.Logit(jnp.asarray(n), against=jnp.asarray(0)), fraction=0.5)),
        ):
            for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
                np.testing.assert_allclose(x[i], y, atol=1e-5)


def test_slopes_of_the_kept_part_match_finite_differences(x64: None) -> None:
    params, tokens = random_params(SMALL, dtype=jnp.float64), random_tokens(SMALL)
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)

    @jax.jit
    def value(params: dict) -> jax.Array:
        _, trace = landed.forward(params, tokens, SMALL)
        trace = trace.bind(params)
        kept = check_coordinates(trace, 4, count=5).kept
        return jnp.sum(kept.value + 2 * kept.logit)

    slopes = jax.jit(jax.grad(value))(params)
    slope = sum(jnp.sum(g * s) for g, s in zip(jax.tree.leaves(slopes), jax.tree.leaves(step), strict=True))
    ahead, behind = (value(jax.tree.map(lambda v, s, h=h: v + h * s, params, step)) for h in (1e-7, -1e-7))
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-7, rtol=1e-5)


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SMALL, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    traces = [run(p, random_tokens(SMALL), SMALL, record=WRITES | RESIDUALS)[1].bind(p) for p in (narrow, wide)]
    found = [checked(trace, jnp.asarray(3), count=4) for trace in traces]
    for x, y in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: check_coordinates(t, 1), "either fraction= or count="),
        (lambda t: check_coordinates(t, 1, fraction=0.5, count=2), "either fraction= or count="),
        (lambda t: check_coordinates(t, 1, fraction=2.0), "between 0 and 1"),
        (lambda t: check_coordinates(t, 1, count=-1), "0 or more"),
        (lambda t: check_coordinates(t, 1, count=jnp.array([1, 2])), "one number or"),
        (lambda t: check_coordinates(t, 1, count=1, rule="last"), "settled"),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[Trace], object], message: str) -> None:
    with pytest.raises(LandedError, match=message):
        call(traced("small"))
