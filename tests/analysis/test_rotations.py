"""Counts in random bases, against NumPy in float64, and the evenness of the rotations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError, Trace
from landed_jax.analysis.basis._rotations import random_rotation, rotated_counts
from tests.coordinates import first_to_reach, heard, settled, traced
from tests.models import NAMES, SMALL


def test_rotations_are_even_over_all_orthogonal_matrices() -> None:
    draws = np.asarray(jax.vmap(lambda key: random_rotation(key, 3))(jax.random.split(jax.random.key(7), 2000)))
    np.testing.assert_allclose(draws @ draws.transpose(0, 2, 1), np.broadcast_to(np.eye(3), draws.shape), atol=1e-5)
    # For Haar measure every entry has mean 0 and mean square 1/3, and the trace mean 0 and mean square 1; QR without
    # its signs set right has a trace far from both. Four standard errors of 2000 draws.
    np.testing.assert_allclose(draws.mean(0), 0, atol=4 * 3**-0.5 / 2000**0.5)
    np.testing.assert_allclose((draws**2).mean(0), 1 / 3, atol=4 * 0.3 / 2000**0.5)
    traces = np.trace(draws, axis1=1, axis2=2)
    np.testing.assert_allclose(traces.mean(), 0, atol=4 / 2000**0.5)
    np.testing.assert_allclose((traces**2).mean(), 1, atol=4 * 2**0.5 / 2000**0.5)
    assert 0.4 < (np.linalg.det(draws) > 0).mean() < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_rotated_counts_are_the_counts_in_the_turned_basis(name: str, x64: None) -> None:
    trace = traced(name, "float64")
    normed, W_U = heard(trace)
    key = jax.random.key(5)
    found = jax.jit(rotated_counts, static_argnames=("rotations", "fractions"))(
        trace, landed.Logit(jnp.asarray(1), against=jnp.asarray(0)), key=key, rotations=3, fractions=(0.5, 0.9)
    )
    assert found.samples == 3 and found.first.shape == found.settled.shape == (3, 2, *normed.shape[:2])
    assert float(found.closure_error.max()) < 1e-12
    for sample, each in enumerate(jax.random.split(key, 3)):
        Q = np.asarray(random_rotation(each, trace.config.d_model, jnp.float64))
        for b, p in np.argwhere(np.asarray(trace.tokens.mask)):
            parts = (normed[b, p] @ Q) * ((W_U[1] - W_U[0]) @ Q)
            for f, fraction in enumerate((0.5, 0.9)):
                assert int(found.settled[sample, f, b, p]) == settled(list(parts), parts.sum(), fraction)
                assert int(found.first[sample, f, b, p]) == first_to_reach(parts, fraction)
    np.testing.assert_allclose(found.settled_mean, np.asarray(found.settled).mean(0))
    np.testing.assert_allclose(found.first_mean, np.asarray(found.first).mean(0))
    np.testing.assert_allclose(found.settled_spread, np.asarray(found.settled).std(0, ddof=1))
    np.testing.assert_allclose(found.first_spread, np.asarray(found.first).std(0, ddof=1))


def test_the_key_decides_the_rotations_and_a_single_coordinate_is_lost_in_them() -> None:
    trace = traced("small")
    read = landed.resolve(trace, landed.Vector(jnp.eye(SMALL.d_model)[3], site="final"))
    own = landed.coordinates(trace, read).settled_count(0.9)
    assert (np.asarray(own) == 1).all()
    draws = [rotated_counts(trace, read, key=jax.random.key(seed), rotations=6) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0].settled, draws[1].settled)
    assert (np.asarray(draws[0].settled) != np.asarray(draws[2].settled)).any()
    assert float(draws[0].settled_mean[1].min()) > 1
    turned = jax.jit(lambda t, key: rotated_counts(t, read, key=key, rotations=6))(trace, jax.random.key(0))
    assert (np.asarray(turned.settled) == np.asarray(draws[0].settled)).mean() > 0.95
    keys = jax.random.split(jax.random.key(2), 2)
    both = jax.vmap(lambda key: rotated_counts(trace, read, key=key, rotations=2).settled)(keys)
    one = rotated_counts(trace, read, key=keys[1], rotations=2).settled
    assert (np.asarray(both[1]) == np.asarray(one)).mean() > 0.95


@pytest.mark.quick
def test_a_neurons_own_bias_is_no_coordinates(x64: None) -> None:
    trace = traced("biased", "float64")
    read = landed.resolve(trace, landed.Neuron(1, 3, "gate"))
    assert float(jnp.abs(read.offset)[0, 0]) > 1e-3
    control = rotated_counts(trace, read, key=jax.random.key(0), rotations=2)
    assert float(control.closure_error.max()) < 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: rotated_counts(t, 1, key=jax.random.key(0), rotations=1), "at least 2"),
        (lambda t: rotated_counts(t, 1, key=jax.random.key(0), fractions=()), "empty"),
        (lambda t: rotated_counts(t, 1, key=jax.random.key(0), fractions=(0.5, 9)), "between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[Trace], object], message: str) -> None:
    with pytest.raises(LandedError, match=message):
        call(traced("small"))
