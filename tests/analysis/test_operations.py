"""Counts and weights of the writes behind a value, against sums over writes made one by one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, LandedError, Trace
from landed_jax.analysis.attribution._operations import Operations, operations
from landed_jax.nn import PerWrite
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from tests.models import BIASED, CONFIGS, FEW, NAMES, SMALL, random_params, random_tokens
from tests.reference.landed import every_write, landed_contributions
from tests.reference.numpy_model import numpy_forward
from tests.traces import unembedding

FRACTIONS = (0.5, 0.9, 0.99)
# Of one layer, with every bias: enough where what is tested is a transform or an argument, and it compiles quickly.
SHORT = dataclasses.replace(BIASED, n_layers=1)
run = jax.jit(landed.forward, static_argnames=("config", "record"))


def traced(config: ModelConfig, params: dict, lengths: tuple[int, ...] = (5, 3), record=WRITES, **arguments) -> Trace:
    return run(params, random_tokens(config, lengths=lengths), config, record=record, **arguments)[1].bind(params)


def participation(parts: np.ndarray) -> float:
    """One over the sum of squared shares."""
    size = np.abs(parts[parts != 0])
    return 1 / np.sum((size / size.sum()) ** 2) if size.size else 0.0


def fewest(parts: np.ndarray, value: float, fraction: float) -> int:
    total, parts, enough = 0.0, parts[parts != 0], parts.dtype.type(fraction) * parts.dtype.type(abs(value))
    for n, part in enumerate(sorted(parts, key=abs, reverse=True)):
        if total * np.sign(value) >= enough:
            return n
        total += part
    return len(parts)


def check(found: Operations, names: list, c: np.ndarray, b: int, p: int) -> None:
    """One position against the contribution of every write, in the order of `every_write`."""
    value = c.sum()
    kinds, layers = np.array([name[0] for name in names]), np.array([-1 if n[1] is None else n[1] for n in names])
    for layer in range(found.attn_net.shape[0]):
        here = layers == layer
        for side, bias, net, gross, cancelled in (
            ("head", "attn_bias", found.attn_net, found.attn_gross, found.attn_cancellation),
            ("neuron", "mlp_bias", found.mlp_net, found.mlp_gross, found.mlp_cancellation),
        ):
            parts = c[here & ((kinds == side) | (kinds == bias))]
            np.testing.assert_allclose(net[layer, b, p], parts.sum(), atol=1e-11)
            np.testing.assert_allclose(gross[layer, b, p], np.abs(parts).sum(), atol=1e-11)
            ratio = 1 - abs(parts.sum()) / np.abs(parts).sum() if parts.any() else 0
            np.testing.assert_allclose(cancelled[layer, b, p], ratio, atol=1e-9)
        for side, ratio in (("head", found.layer_heads), ("neuron", found.layer_neurons)):
            np.testing.assert_allclose(ratio[layer, b, p], participation(c[here & (kinds == side)]), rtol=1e-9)
    for which, ratio in (
        (kinds == "head", found.heads),
        (kinds == "neuron", found.neurons),
        (kinds != "", found.writes),
    ):
        np.testing.assert_allclose(ratio[b, p], participation(c[which]), rtol=1e-9)
    assert [int(n) for n in found.fewest[:, b, p]] == [fewest(c, value, fraction) for fraction in FRACTIONS]
    np.testing.assert_allclose(found.value[b, p], value, atol=1e-11)
    np.testing.assert_allclose(found.embedding[b, p], c[0], atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_everything_equals_brute_force(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, params)
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    W_U = unembedding(params, config)
    found = operations(trace, landed.Logit(4, against=1))
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        written = every_write(numbers, config, b, p)
        check(found, written.names, landed_contributions(written, numbers, W_U[4] - W_U[1], config, b, p), b, p)
    assert float(found.closure_error.max()) <= 1e-11


@pytest.mark.parametrize(("position", "lengths"), [(-1, (5, 3)), (0, (1, 1))])
def test_one_recorded_position_stacked(position: int, lengths: tuple[int, ...], x64: None) -> None:
    params, tokens = random_params(BIASED, dtype=jnp.float64), random_tokens(BIASED, lengths=lengths)
    numbers = numpy_forward(params, tokens.ids, tokens.mask, BIASED)
    W_E = np.asarray(params["embed"]["W_E"])
    found = operations(
        traced(BIASED, stack_layers(params), lengths, at=jnp.array([position])), landed.Logit(2, centred=True)
    )
    for b in range(2):
        written = every_write(numbers, BIASED, b, position)
        c = landed_contributions(written, numbers, W_E[2] - W_E.mean(0), BIASED, b, position)
        check(found, written.names, c, b, 0)


def test_a_read_before_the_end_counts_only_what_it_hears(x64: None) -> None:
    params = random_params(BIASED, dtype=jnp.float64)
    trace = traced(BIASED, params, record=WRITES | RESIDUALS)
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, BIASED)
    read = landed.resolve(trace, landed.Neuron(layer=1, index=4, part="gate"))
    assert float(jnp.abs(read.offset).min()) > 0
    found, site = operations(trace, read), 3
    vector = np.asarray(params["layers"]["1"]["mlp"]["W_gate"][4])
    for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
        written = every_write(numbers, BIASED, b, p)
        c = written.vectors * numbers["gamma"][site] / numbers["sigma"][site, b, p] @ vector
        check(found, written.names, np.where(written.sites <= site, c, 0), b, p)
    assert not found.mlp_gross[1:].any() and not found.attn_cancellation[2:].any()
    assert float(found.closure_error.max()) <= 1e-11


@pytest.mark.quick
@pytest.mark.parametrize("name", FEW)
def test_closes_in_float32(name: str) -> None:
    config = CONFIGS[name]
    found = operations(traced(config, random_params(config)), landed.Logit(1, against=2))
    gross = jnp.abs(found.embedding) + found.attn_gross.sum(0) + found.mlp_gross.sum(0)
    assert float((found.closure_error / gross).max()) <= 1e-5


def alike(one: Operations, other: Operations, atol: float = 0.0) -> None:
    assert one.fractions == other.fractions
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=1e-4 if atol else 0)


def test_an_attribution_gives_the_same_as_its_trace() -> None:
    trace = traced(SMALL, random_params(SMALL))
    shares = landed.attribute(trace, 3, against=7, effects=False)
    alike(operations(shares), operations(trace, landed.Logit(3, against=7)))


@functools.cache
def some_shares() -> landed.attribution.Attribution:
    return landed.attribute(traced(SMALL, random_params(SMALL)), 3, effects=False)


def made_of(landed_writes: PerWrite, value: jax.Array) -> landed.attribution.Attribution:
    """An attribution with these contributions."""
    return dataclasses.replace(some_shares(), landed=landed_writes, value=value, total=value)


parts = st.lists(st.sampled_from([0.0, 1.0, -1.0, 2.0, -3.0, 1e-30, -1e-30]), min_size=4, max_size=4)


@given(parts, parts, st.sampled_from([0.0, 1.5]))
def test_bounds_that_hold_for_any_contributions(heads: list[float], neurons: list[float], embedding: float) -> None:
    zero = jnp.zeros((2, 1, 1))
    layered = [jnp.asarray(values, jnp.float32).reshape(2, 1, 1, 2) for values in (heads, neurons)]
    landed_writes = PerWrite(jnp.full((1, 1), embedding), *layered, zero, zero)
    total = landed_writes.total()
    found = operations(made_of(landed_writes, total))
    for ratio, values in (
        (found.heads, heads),
        (found.neurons, neurons),
        (found.writes, [*heads, *neurons, embedding]),
    ):
        there = np.count_nonzero(np.asarray(values, np.float32))
        assert (1 - 1e-5 if there else 0) <= float(ratio[0, 0]) <= there + 1e-5
        if len({abs(v) for v in values if v}) == 1:  # all of one size: the ratio is their number
            assert float(ratio[0, 0]) == pytest.approx(there, rel=1e-6)
    for cancelled in (found.attn_cancellation, found.mlp_cancellation):
        assert float(cancelled.min()) >= -1e-6 and float(cancelled.max()) <= 1
    counts = np.asarray(found.fewest)[:, 0, 0]
    assert (np.diff(counts) >= 0).all()
    c = np.asarray([embedding, *heads, *neurons], np.float32)
    if all(abs(v) != np.float32(1e-30) for v in c):
        assert counts.tolist() == [fewest(c, float(total[0, 0]), fraction) for fraction in FRACTIONS]


def test_heads_that_cancel_wholly() -> None:
    heads = jnp.array([[2.0, -2.0], [1.0, 1.0]]).reshape(2, 1, 1, 2)
    zero = jnp.zeros((2, 1, 1))
    found = operations(made_of(PerWrite(jnp.zeros((1, 1)), heads, 0 * heads, zero, zero), jnp.full((1, 1), 2.0)))
    assert found.attn_cancellation[:, 0, 0].tolist() == [1.0, 0.0]
    assert found.attn_gross[:, 0, 0].tolist() == [4.0, 2.0]
    assert found.mlp_cancellation[:, 0, 0].tolist() == [0.0, 0.0]


def test_fractions_of_the_users() -> None:
    trace = traced(SMALL, random_params(SMALL))
    found, usual = (
        operations(trace, landed.Logit(3, against=7), fractions=(0.9, 0.1)),
        operations(trace, landed.Logit(3, against=7)),
    )
    np.testing.assert_array_equal(found.fewest[0], usual.fewest[1])
    assert (found.fewest[1] <= usual.fewest[0]).all()


def test_jit_and_vmap_over_prompts_and_over_targets() -> None:
    params, ids = random_params(SHORT), jnp.array([[1, 5, 2], [3, 3, 8]])

    def one(row: jax.Array, target: jax.Array) -> Operations:
        return operations(landed.forward(params, row[None], SHORT)[1].bind(params), landed.Logit(target, against=7))

    many = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(ids, jnp.arange(4))
    for row in range(2):
        trace = run(params, ids[row : row + 1], SHORT)[1].bind(params)
        for target in (0, 2):
            alone = operations(trace, landed.Logit(target, against=7))
            alike(jax.tree.map(lambda leaf, i=row, t=target: leaf[i, t], many), alone, atol=2e-5)


def test_grad_matches_finite_differences(x64: None) -> None:
    params = random_params(SHORT, dtype=jnp.float64)
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)

    @jax.jit
    def reduced(h: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda v, s: v + h * s, params, step)
        found = operations(
            landed.forward(moved, jnp.array([[1, 0, 5]]), SHORT)[1].bind(moved), landed.Logit(3, against=4)
        )
        numbers = (
            found.attn_net,
            found.mlp_gross,
            found.mlp_cancellation,
            found.layer_heads,
            found.neurons,
            found.writes,
        )
        return sum(jnp.sum(value) for value in numbers)

    slope = jax.jit(jax.grad(reduced))(0.0)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (reduced(1e-7) - reduced(-1e-7)) / 2e-7, rtol=1e-5)


def test_bfloat16_weights_are_cast_not_altered() -> None:
    narrow = random_params(SHORT, dtype=jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    one, other = (operations(traced(SHORT, p), landed.Logit(1, against=2)) for p in (narrow, wide))
    alike(one, other, atol=1e-5)


def test_bad_arguments_say_so() -> None:
    trace = traced(SHORT, random_params(SHORT))
    shares = landed.attribute(trace, 3)
    with pytest.raises(LandedError, match="question already"):
        operations(shares, 3)
    for fractions in ((0.0,), (0.5, 1.5)):
        with pytest.raises(LandedError, match="above 0"):
            operations(shares, fractions=fractions)
    with pytest.raises(LandedError, match="did not record neuron"):
        operations(traced(SHORT, random_params(SHORT), record=WRITES - {landed.HookPoint.NEURON}), 1)
