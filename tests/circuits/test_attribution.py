"""Edge attribution as the derivative that it is: of split runs, of interventions, of the embeddings' path."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.circuits import Graph, circuit_values, edge_attribution
from landed_jax.errors import LandedError
from landed_jax.interventions import intervene
from tests.circuits.cases import FINAL, MEASURE, model_of, pairs_for, reference_writes
from tests.models import CONFIGS, HELD, NAMES


def close(found: Any, expected: Any, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol * max(1.0, float(np.abs(expected).max())))


@pytest.mark.quick
@pytest.mark.parametrize(("name", "hold"), HELD)
def test_a_score_is_the_slope_of_split_runs_by_what_the_edge_keeps(name: str, hold: Any, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name], hold), pairs_for(CONFIGS[name])
    kept = jnp.ones((1, len(Graph.of(model.config))))
    for how in ({}, {"freeze_sigma": True, "measure": landed.interventions.LogProbability(1)}):
        found = edge_attribution(model, pairs, **how)
        values, slope = jax.vjp(lambda m, how=how: circuit_values(model, pairs, m, **how)[0], kept)
        close(found.value, values)
        close(found.scores, np.stack([slope(row)[0][0] for row in np.eye(len(pairs))]))


@pytest.mark.parametrize("name", NAMES)
def test_a_nodes_score_is_the_slope_by_its_write(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    graph = Graph.of(model.config)
    change = reference_writes(model, pairs.corrupted) - reference_writes(model, pairs.clean)
    found = edge_attribution(model, pairs, measure=MEASURE).node_scores
    for sender, site in [("input", "attn_residual"), ("a0.h1", "attn_write"), ("m0", "mlp_write")]:
        place = graph.senders.index(sender)

        def value(part: Any, site: str = site, change: np.ndarray = change[place]) -> jax.Array:
            added = intervene(site, "add", part[:, None, None] * change, layers=0)
            _, trace = landed.forward(model.params, pairs.clean, model.config, record=FINAL, interventions=added)
            return jnp.sum(landed.resolve(trace.bind(model.params), MEASURE).value[:, -1])

        close(found[:, place], -jax.jit(jax.grad(value))(jnp.zeros(len(pairs))))


@pytest.mark.parametrize("name", ["small", "layer_norm", pytest.param("both_norms", marks=pytest.mark.slow)])
def test_steps_average_slopes_along_the_embeddings_path(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    own, other = (reference_writes(model, tokens)[0] for tokens in (pairs.clean, pairs.corrupted))

    @jax.jit
    def slope(start: jax.Array) -> jax.Array:
        def value(start: jax.Array) -> jax.Array:
            placed = intervene("attn_residual", "replace", start, layers=0)
            _, trace = landed.forward(model.params, pairs.clean, model.config, record=FINAL, interventions=placed)
            return jnp.sum(landed.resolve(trace.bind(model.params), MEASURE).value[:, -1])

        return jax.grad(value)(start)

    for steps in (1, 3):
        slopes = [slope(jnp.asarray(other + step / steps * (own - other))) for step in range(1, steps + 1)]
        found = edge_attribution(model, pairs, steps=steps, measure=MEASURE)
        close(found.node_scores[:, 0], np.sum((own - other) * np.mean(slopes, axis=0), axis=(1, 2)))
    close(edge_attribution(model, pairs, steps=1).scores, edge_attribution(model, pairs).scores)


def test_scores_name_their_edges(x64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = model_of(CONFIGS["small"]), pairs_for(CONFIGS["small"], (5, 3, 4))
    found = edge_attribution(model, pairs, steps=2)
    edge = found.to_xarray().scores.sel(edge="input->a1.h0<k>")
    np.testing.assert_array_equal(edge, found.scores[:, found.edges.index("input->a1.h0<k>")])
    assert found.to_xarray(derived=True).node_scores.sel(sender="m1").shape == (3,)
    monkeypatch.setattr("landed_jax.circuits._others.WRITES_BYTES", 2 * 8 * 11 * 5 * 12)
    close(edge_attribution(model, pairs, steps=2).scores, found.scores)
    jitted = jax.jit(lambda pairs: edge_attribution(model, pairs, steps=2).scores)
    close(jitted(pairs), found.scores)
    np.testing.assert_array_equal(edge_attribution(model, pairs, steps=np.int64(2)).scores, found.scores)  # pyright: ignore[reportArgumentType] # a number of NumPy's
    for steps in (-1, True, 1.5):
        with pytest.raises(LandedError, match=f"steps={steps} is no number of runs"):
            edge_attribution(model, pairs, steps=steps)  # pyright: ignore[reportArgumentType] # what is refused
