"""NMAE and correlation of landed contributions with direct effects, against NumPy over brute-force numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES
from landed_jax.analysis.attribution._frozen_sigma_agreement import (
    Agreement,
    FrozenSigmaAgreement,
    compare,
    frozen_sigma_agreement,
)
from tests.models import CONFIGS, NAMES, SMALL, random_params
from tests.reference.landed import every_write, landed_contributions, removed_effects
from tests.reference.numpy_model import numpy_forward
from tests.traces import asked_by, real_positions, traced, unembedding

KINDS = {"heads": ("head",), "neurons": ("neuron",), "together": ("head", "neuron")}


def expect(found: Agreement, place: tuple, estimate: np.ndarray, measured: np.ndarray) -> None:
    nmae = np.abs(estimate - measured).sum() / np.abs(measured).sum()
    np.testing.assert_allclose(found.nmae[place], nmae, rtol=1e-8)
    np.testing.assert_allclose(found.correlation[place], np.corrcoef(estimate, measured)[0, 1], rtol=1e-8)
    assert int(found.count[place]) == len(measured)


@pytest.mark.quick
@pytest.mark.parametrize("name", NAMES)
def test_equals_numpy_by_position_and_pooled(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, params=params)
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    W_U, inner = unembedding(params, config), np.arange(5) >= 2
    arguments, u = {
        "small": ({"target": 1}, W_U[1]),
        "biased": ({"target": 1, "centred": True}, W_U[1] - W_U.mean(0)),
        "windowed": ({"target": 1, "against": 2}, W_U[1] - W_U[2]),
    }.get(name, ({"target": 1}, W_U[1]))
    found = jax.jit(lambda t: frozen_sigma_agreement(t, asked_by(**arguments)))(trace)
    pooled, later = found.pooled(), found.pooled(jnp.asarray(np.broadcast_to(inner, found.real.shape)))
    for kind, members in KINDS.items():
        every: list = []
        for b, p in real_positions(trace):
            written = every_write(numbers, config, b, p)
            mine = np.array([entry[0] in members for entry in written.names])
            estimate = landed_contributions(written, numbers, u, config, b, p)[mine]
            measured = removed_effects(written, numbers, u, config, b, p)[mine]
            expect(getattr(found, kind), (b, p), estimate, measured)
            every.append((p, estimate, measured))
        for whole, kept in ((pooled, every), (later, [entry for entry in every if inner[entry[0]]])):
            expect(getattr(whole, kind), (), *(np.concatenate([entry[i] for entry in kept]) for i in (1, 2)))


def test_only_what_the_read_hears_is_counted() -> None:
    trace = traced(SMALL, WRITES | RESIDUALS)
    found = frozen_sigma_agreement(trace, landed.Neuron(0, 3, "gate"))
    assert int(found.heads.count[0, 0]) == SMALL.n_heads and int(found.neurons.count[0, 0]) == 0
    assert bool(jnp.isnan(found.neurons.nmae).all())
    np.testing.assert_array_equal(found.together.nmae, found.heads.nmae)


def test_vmap_over_targets_and_a_perfect_estimate() -> None:
    trace = traced(SMALL)
    many = jax.jit(jax.vmap(lambda t: frozen_sigma_agreement(trace, t).pooled()))(jnp.arange(3))
    np.testing.assert_allclose(many.heads.nmae[2], frozen_sigma_agreement(trace, 2).pooled().heads.nmae, rtol=1e-4)
    effect = landed.attribute(trace, 2).direct_effect
    assert effect is not None
    same: FrozenSigmaAgreement = compare(effect, effect, trace.tokens.mask, config=SMALL)
    np.testing.assert_array_equal(same.neurons.nmae, 0 * same.neurons.nmae)
    np.testing.assert_allclose(same.together.correlation, 1, rtol=1e-5)
