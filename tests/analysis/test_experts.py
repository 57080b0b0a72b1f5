"""Models with experts: names of neurons, the router's question, groups, and effects with the choice as it ran."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, ROUTING, SOURCES, WRITES, HookPoint, LandedError, Write
from landed_jax.analysis.reduce import top_per_position, top_writes
from landed_jax.nn.parameters import stack_layers
from tests.models import EXPERTS, SMALL, random_params, random_tokens
from tests.reference.landed import every_write, landed_contributions, removed_effects, shares_of_sigma
from tests.reference.numpy_model import numpy_forward
from tests.traces import column, real_positions, traced, unembedding

RECORD = WRITES | RESIDUALS | ROUTING | {HookPoint.GATE, HookPoint.UP}
OLMOE = dataclasses.replace(
    EXPERTS, activation="silu", router_normalised=False, router_bias=False, mlp_bias=False, experts_per_token=3
)
LAYER_NORM = dataclasses.replace(EXPERTS, norm="layer", gated_mlp=False, activation="gelu")
OUTPUT_NORMS = dataclasses.replace(EXPERTS, output_norms=True, experts_per_token=1)
MODELS = {"experts": EXPERTS, "olmoe": OLMOE, "layer_norm": LAYER_NORM, "output_norms": OUTPUT_NORMS}


def wide(config: Any) -> dict:
    return random_params(config, dtype=jnp.float64)


def test_the_choice_and_its_weights_are_those_of_the_mathematics(x64: None) -> None:
    for config in MODELS.values():
        trace = traced(config, WRITES | ROUTING, wide(config))
        expected = numpy_forward(trace.params, trace.tokens.ids, trace.tokens.mask, config)
        real = np.asarray(trace.tokens.mask)
        for site in ROUTING:
            np.testing.assert_allclose(trace[site][:, real], expected[site.value][:, real], atol=1e-12)
        weights = np.asarray(trace[HookPoint.EXPERT_WEIGHT])
        assert (np.diff(weights, axis=-1) <= 0).all()  # largest first
        assert np.allclose(weights.sum(-1), 1) == config.router_normalised


@pytest.mark.parametrize("name", MODELS)
def test_effects_equal_brute_force_with_the_choice_as_it_ran(name: str, x64: None) -> None:
    config = MODELS[name]
    trace = traced(config, WRITES, wide(config))
    numbers = numpy_forward(trace.params, trace.tokens.ids, trace.tokens.mask, config)
    vector = unembedding(trace.params, config)[4]
    shares = landed.attribute(trace, 4)
    for b, p in real_positions(trace):
        written = every_write(numbers, config, b, p)
        for found, expected in (
            (shares.landed, landed_contributions(written, numbers, vector, config, b, p)),
            (shares.direct_effect, removed_effects(written, numbers, vector, config, b, p)),
            (shares.sigma_share, shares_of_sigma(written, numbers, config, b, p)),
        ):
            np.testing.assert_allclose(column(found, b, p), expected, atol=1e-11)


@pytest.mark.parametrize("hold", [dict, stack_layers])
def test_top_writes_name_their_experts_and_their_vectors_are_theirs(hold: Any, x64: None) -> None:
    trace = traced(EXPERTS, RECORD | SOURCES, hold(wide(EXPERTS)))
    shares = landed.attribute(trace, 4)
    rows = shares.top(500)
    neurons = [row for row in rows if row.kind == "neuron"]
    assert len(neurons) == EXPERTS.n_layers * EXPERTS.n_neurons
    W_U = np.asarray(trace.weights()["unembed"]["W_U"][4])
    for row in neurons:
        assert row.expert in np.asarray(trace[HookPoint.EXPERT][row.layer, 0, row.position])
        vector = landed.land(trace, [row], site="final")[0]
        np.testing.assert_allclose(vector @ W_U, row.landed, atol=1e-12)
    assert f"{neurons[0].layer}.{neurons[0].expert}.{neurons[0].index}" in repr(rows)


@pytest.mark.parametrize("passes", [1, 2])
def test_streamed_writes_name_their_experts(passes: Any, x64: None) -> None:
    params, tokens = wide(EXPERTS), random_tokens(EXPERTS)
    trace = traced(EXPERTS, WRITES, params)
    for reduction in (top_writes(40), top_per_position(6)):
        found = landed.attribute_streaming(params, tokens, EXPERTS, reduction, 4, passes=passes)
        writes = found.writes()
        assert any(write.expert is not None for write in writes)
        values = np.asarray(found.reduced.landed)[np.asarray(found.reduced.there)]
        W_U = np.asarray(params["unembed"]["W_U"][4])
        for write, value in zip(writes, values, strict=True):
            assert (write.expert is None) == (write.kind == "head")
            np.testing.assert_allclose(landed.land(trace, [write], site="final")[0] @ W_U, value, atol=1e-12)


def test_the_router_and_an_experts_neuron_are_reads_like_any_other(x64: None) -> None:
    for config in MODELS.values():
        trace = traced(config, WRITES | RESIDUALS | ROUTING | {HookPoint.GATE}, wide(config))
        layer = config.n_layers - 1
        for expert in range(config.n_experts):
            shares = landed.attribute(trace, landed.Router(layer, expert))
            assert shares.site == f"{layer}.mlp" and float(shares.closure_error.max()) < 1e-11
            np.testing.assert_allclose(shares.value, trace[HookPoint.ROUTER][layer, ..., expert], atol=1e-12)
        # A neuron of an expert: at positions that chose it, the recorded pre-activation.
        ids, gates = np.asarray(trace[HookPoint.EXPERT][layer]), np.asarray(trace[HookPoint.GATE][layer])
        index, expert = 3, int(ids[0, -1, 0])
        read = landed.resolve(trace, landed.Neuron(layer, index, "gate", expert=expert))
        for b, p, slot in np.argwhere(ids == expert):
            np.testing.assert_allclose(read.value[b, p], gates[b, p, slot * config.d_ff + index], atol=1e-12)


def test_a_group_of_an_experts_neuron_is_there_where_it_was_chosen(x64: None) -> None:
    trace = traced(EXPERTS, RECORD, wide(EXPERTS))
    shares = landed.attribute(trace, 4)
    assert shares.direct_effect is not None
    group = landed.attribution.write_group(trace, [Write("neuron", 1, 2, expert=3)])
    found = landed.attribution.group_effect(trace, 4, group=group)
    ids = np.asarray(trace[HookPoint.EXPERT][1])
    assert 0 < (ids == 3).any(-1).sum() < ids[..., 0].size
    for b, p in np.ndindex(*ids.shape[:2]):
        slots = np.flatnonzero(ids[b, p] == 3)
        expected = shares.direct_effect.neurons[1, b, p, slots[0] * EXPERTS.d_ff + 2] if slots.size else 0
        np.testing.assert_allclose(found.effect[b, p], expected, atol=1e-10)
    with pytest.raises(LandedError, match="give the trace to write_group"):
        landed.attribution.write_group(EXPERTS, [Write("neuron", 1, 2, expert=3)])


def test_the_landing_of_an_experts_neuron(x64: None) -> None:
    trace = traced(EXPERTS, RECORD, wide(EXPERTS))
    matrix = landed.landing.landing_matrix(trace)
    expert = int(trace[HookPoint.EXPERT][0, 0, -1, 1])
    write = Write("neuron", 0, 4, expert=expert)
    for site, norm in zip(matrix.of(write).sites, matrix.of(write).norm, strict=True):
        np.testing.assert_allclose(norm, np.linalg.norm(landed.land(trace, [write], site=site)[0]), atol=1e-12)


def test_what_is_refused() -> None:
    trace = traced(EXPERTS, RECORD)
    used = set(np.asarray(trace[HookPoint.EXPERT][0, 0, -1]).tolist())
    other = next(expert for expert in range(EXPERTS.n_experts) if expert not in used)
    for write, said in (
        (Write("neuron", 0, 2), "give expert="),
        (Write("neuron", 0, 2, expert=9), "experts run from 0 to 4"),
        (Write("neuron", 0, 6, expert=0), "neurons run from 0 to 5"),
        (Write("head", 0, 2, expert=0), "only neurons"),
        (Write("neuron", 0, 2, expert=other), f"0.{other}.2 writes nothing: this position chose the experts"),
    ):
        with pytest.raises(LandedError, match=said):
            landed.writes.write_vector(trace, write)
    with pytest.raises(LandedError, match="give expert="):
        landed.attribute(trace, landed.Neuron(0, 1, "gate"))
    dense = traced(SMALL, WRITES | RESIDUALS)
    for question, said in (
        (landed.Router(0, 1), "no experts"),
        (landed.Neuron(0, 1, "gate", expert=1), "leave expert= out"),
    ):
        with pytest.raises(LandedError, match=said):
            landed.attribute(dense, question)
    with pytest.raises(LandedError, match="it has no experts"):
        dense[HookPoint.EXPERT]


def test_inside_jit_an_expert_that_was_not_chosen_writes_nothing() -> None:
    trace = traced(EXPERTS, RECORD)
    ids = np.asarray(trace[HookPoint.EXPERT][0, 0])
    write = jax.jit(lambda t: landed.writes.write_vector(t, Write("neuron", 0, 2, expert=int(ids[-1, 0]))))(trace)
    assert np.abs(write).max() > 0
    other = next(expert for expert in range(EXPERTS.n_experts) if expert not in ids[-1])
    assert not np.any(jax.jit(lambda t: landed.writes.write_vector(t, Write("neuron", 0, 2, expert=other)))(trace))


def test_an_edit_of_the_choice_is_what_the_model_goes_on_with(x64: None) -> None:
    params, tokens = wide(EXPERTS), random_tokens(EXPERTS)

    def without_first(logits: jax.Array, layer: Any) -> jax.Array:
        return logits.at[..., 0].set(-jnp.inf)

    _, trace = landed.forward(params, tokens, EXPERTS, record=RECORD, edits={HookPoint.ROUTER: without_first})
    assert (np.asarray(trace[HookPoint.EXPERT]) != 0).all()
    cut = jax.tree.map(lambda leaf: leaf, params)
    for layer in cut["layers"].values():
        layer["experts"] = {**layer["experts"], "b_router": layer["experts"]["b_router"].at[0].set(-1e9)}
    expected = landed.forward(cut, tokens, EXPERTS, record=())[0]
    np.testing.assert_allclose(
        landed.forward(params, tokens, EXPERTS, record=(), edits={HookPoint.ROUTER: without_first})[0],
        expected,
        atol=1e-12,
    )
