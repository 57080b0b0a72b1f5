"""Interventions against the same change as a Python function, at every hook point of every kind of model."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.interventions import freeze, freeze_pattern, freeze_sigma, intervene, mean_of, patch, zero_head
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import AXES, OUTSIDE_LAYERS, HookPoint, absent
from landed_jax.nn.intervention import checked
from landed_jax.nn.parameters import init_params, stack_layers
from tests.compiling import compilations
from tests.models import CONFIGS, SMALL, configs, each_config, random_params, random_tokens


def points(config: ModelConfig) -> list[HookPoint]:
    return [point for point in HookPoint if point not in absent(config)]


def run(params: Any, tokens: Any, config: ModelConfig, interventions: Any = (), **how: Any) -> Any:
    return jax.jit(lambda p, i: forward(p, tokens, config, interventions=i, **how))(params, interventions)


@pytest.mark.quick
@each_config
def test_a_value_of_its_own_changes_nothing(config: ModelConfig, x64: None) -> None:
    params, tokens = random_params(config, dtype=np.float64), random_tokens(config)
    logits, trace = run(params, tokens, config, record=frozenset(points(config)))
    # One program for all hook points: those that are not meant have places that are none, which jit cannot see.
    length, places = tokens.ids.shape[1], {}
    for point in points(config):
        if point not in OUTSIDE_LAYERS:
            places[point] = {"layers": jnp.arange(config.n_layers)}
        elif "position" in AXES[point]:
            places[point] = {"positions": jnp.arange(length)}

    @jax.jit
    def patched(where: Any) -> jax.Array:
        interventions = [patch(trace, point, **at) for point, at in where.items()]
        return forward(params, tokens, config, interventions=interventions, record=())[0]

    nowhere = jax.tree.map(lambda at: at + 99, places)
    for point in places:
        found = patched({**nowhere, point: places[point]})
        np.testing.assert_allclose(found, logits, rtol=0, atol=1e-13 * np.abs(logits).max(), err_msg=point.value)
    gamma = run(params, tokens, config, patch(trace, "final_gamma"), record=())[0]
    np.testing.assert_allclose(gamma, logits, rtol=0, atol=1e-13 * np.abs(logits).max())


@pytest.mark.slow
@settings(max_examples=6)  # each compiles four programs
@given(config=configs(), data=st.data())
def test_any_intervention_is_the_edit_that_says_the_same(config: ModelConfig, data: st.DataObject) -> None:
    with jax.enable_x64(True):
        params, tokens = random_params(config, dtype=np.float64), random_tokens(config)
        point = data.draw(st.sampled_from([point for point in points(config) if point != HookPoint.EXPERT]))
        do = data.draw(st.sampled_from(["zero", "scale", "add", "replace", "project_out"]))
        chosen, length = None, tokens.ids.shape[1]
        where: dict[str, Any] = {}
        for name, axis in [("positions", "position"), ("positions", "source"), ("heads", "head"), ("heads", "kv_head")]:
            if (
                axis in AXES[point]
                and not (axis == "source" and "position" in AXES[point])
                and data.draw(st.booleans())
            ):
                size = {"head": config.n_heads, "kv_head": config.n_kv_heads}.get(axis, length)
                chosen = data.draw(st.integers(-size, size - 1))
                where[name] = (AXES[point].index(axis), chosen)
        layer = None if point in OUTSIDE_LAYERS else data.draw(st.integers(0, config.n_layers - 1))
        shapes: list[Any] = []
        forward(params, tokens, config, record=(), edits={point: lambda x, _: (shapes.append(x.shape), x)[1]})
        value = None if do == "zero" else np.random.default_rng(0).normal(size=() if do == "scale" else shapes[0][-1:])

        def edit(x: jax.Array, index: Any) -> jax.Array:
            v = None if value is None else jnp.broadcast_to(value, x.shape)
            if do == "zero":
                new = 0 * x
            elif do == "project_out":
                new = x - jnp.sum(x * v, -1, keepdims=True) / np.sum(value**2) * v
            else:
                new = {"scale": lambda: x * v, "add": lambda: x + v, "replace": lambda: v}[do]()
            mask = np.ones(x.shape, bool)
            for at, place in where.values():
                row = np.zeros(x.shape[at], bool)
                row[place] = True
                mask = mask & np.moveaxis(np.broadcast_to(row, np.moveaxis(mask, at, -1).shape), -1, at)
            new = jnp.where(mask, new, x)
            return new if index is None else jnp.where(index == layer, new, x)

        places = {name: place for name, (_, place) in where.items()} | ({} if layer is None else {"layers": layer})
        for weights in (params, stack_layers(params)):
            found = run(weights, tokens, config, intervene(point, do, value, **places), record=())[0]
            expected = jax.jit(lambda p: forward(p, tokens, config, record=(), edits={point: edit})[0])(weights)
            # A σ of 0 makes infinite logits, or none: then both have to.
            scale = np.abs(expected, where=np.isfinite(expected), out=np.ones(expected.shape)).max()
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1.0, scale))


def test_neurons_of_experts_and_experts(x64: None) -> None:
    """Without its column of W_down, a neuron writes nothing; without all of them and the bias, an expert does not."""
    config = CONFIGS["experts"]
    params, tokens = random_params(config, dtype=np.float64), random_tokens(config)

    def without(*names: str, at: Any) -> jax.Array:
        layers = {**params["layers"], "1": {**params["layers"]["1"], "experts": {**params["layers"]["1"]["experts"]}}}
        for name in names:
            leaf = np.array(layers["1"]["experts"][name])
            leaf[at if name == "W_down" else at[0]] = 0
            layers["1"]["experts"][name] = leaf
        return run({**params, "layers": layers}, tokens, config, record=())[0]

    for expert in range(config.n_experts):
        neuron = intervene("neuron", layers=1, experts=expert, neurons=3)
        found = run(params, tokens, config, neuron, record=())[0]
        np.testing.assert_allclose(found, without("W_down", at=(expert, slice(None), 3)), rtol=0, atol=1e-12)
        whole = intervene("expert_weight", layers=1, experts=expert)
        found = run(params, tokens, config, [whole, intervene("neuron", layers=1, experts=expert)], record=())[0]
        np.testing.assert_allclose(found, without("W_down", "b_down", at=(expert,)), rtol=0, atol=1e-12)


def test_interventions_and_edits_in_their_order() -> None:
    params, tokens = random_params(SMALL), random_tokens(SMALL)
    doubled_then_one_more = [intervene("head", "scale", 2.0), intervene("head", "add", np.float32(1))]
    found = run(
        params, tokens, SMALL, doubled_then_one_more, record={HookPoint.HEAD}, edits={HookPoint.HEAD: lambda z, _: -z}
    )
    once = run(params, tokens, SMALL, (), record={HookPoint.HEAD})[1]
    np.testing.assert_allclose(found[1][HookPoint.HEAD][0], -(2 * once[HookPoint.HEAD][0] + 1), rtol=1e-5, atol=1e-6)


def test_another_place_or_value_compiles_nothing() -> None:
    model = landed.Model(SMALL, init_params(SMALL, jax.random.key(0)))
    tokens = random_tokens(SMALL)
    first = model.trace(tokens, interventions=intervene("head", "add", np.ones(4, np.float32), layers=0, heads=1))
    with compilations() as compiled:
        found = model.trace(tokens, interventions=intervene("head", "add", np.zeros(4, np.float32), layers=1, heads=-1))
    assert not compiled
    assert float(jnp.abs(found.logits - first.logits).max()) > 1e-3


def test_under_vmap_and_grad() -> None:
    params, tokens = random_params(SMALL), random_tokens(SMALL)

    def value(intervention: Any) -> jax.Array:
        return forward(params, tokens, SMALL, record=(), interventions=intervention)[0][:, -1, 3]

    def zeroed(layer: jax.Array, head: jax.Array) -> jax.Array:
        return value(zero_head(layer, head))

    layers, heads = (places.ravel() for places in np.indices((2, 4)))
    together = jax.jit(jax.vmap(zeroed))(layers, heads)
    for place, (layer, head) in enumerate(zip(layers, heads, strict=True)):
        np.testing.assert_allclose(together[place], zeroed(layer, head), rtol=1e-5, atol=1e-6)

    def steered(vector: jax.Array) -> jax.Array:
        return value(intervene("mlp_residual", "add", vector, layers=1, positions=-1)).sum()

    start, step = jnp.zeros(12), jnp.linspace(-1, 1, 12)
    slope = jax.jit(jax.grad(steered))(start)
    rise = (steered(start + 1e-2 * step) - steered(start - 1e-2 * step)) / 2e-2
    np.testing.assert_allclose(jnp.vdot(slope, step), rise, rtol=1e-2)


def test_positions_of_each_prompt_and_partial_traces() -> None:
    params, tokens = random_params(SMALL), random_tokens(SMALL)
    each = intervene("attn_residual", layers=1, positions=[[4], [3]])
    found = run(params, tokens, SMALL, each, record={HookPoint.ATTN_RESIDUAL})[1][HookPoint.ATTN_RESIDUAL][1]
    assert not found[0, 4].any() and not found[1, 3].any()
    assert found[0, 3].any() and found[1, 4].any()
    trace = run(params, tokens, SMALL, record={HookPoint.MLP_WRITE}, at=[1, -1])[1]
    other = random_tokens(SMALL, seed=5)
    kept = run(params, other, SMALL, patch(trace, "mlp_write", layers=0), record={HookPoint.MLP_WRITE})[1]
    plain = run(params, other, SMALL, record={HookPoint.MLP_WRITE})[1]
    got, wanted = kept[HookPoint.MLP_WRITE][0], np.array(plain[HookPoint.MLP_WRITE][0])
    wanted[:, [1, 4]] = trace[HookPoint.MLP_WRITE][0]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_frozen_norms_and_patterns() -> None:
    params, tokens = random_params(CONFIGS["both_norms"]), random_tokens(CONFIGS["both_norms"])
    config = CONFIGS["both_norms"]
    record = frozenset(points(config))
    clean = run(params, tokens, config, record=record)[1]
    steered = intervene("attn_residual", "scale", 3.0, layers=0)
    found = run(params, tokens, config, [steered, freeze_sigma(clean), freeze_pattern(clean)], record=record)[1]
    for point in points(config):
        same = np.array_equal(found[point], clean[point])
        assert same == (
            point == HookPoint.PATTERN or point.value.endswith(("sigma", "gamma")) or point in (HookPoint.EMBEDDING,)
        ), point
    assert len(freeze(clean, ["head", "neuron"])) == 2


def test_means_are_of_the_class_of_a_position() -> None:
    config = dataclasses.replace(SMALL, vocab_size=13)
    params = random_params(config)
    data = [run(params, random_tokens(config, seed), config, record={HookPoint.NEURON})[1] for seed in range(3)]
    prompts = run(params, random_tokens(config, 9), config, record={HookPoint.NEURON})[1]
    found = mean_of(data, "neuron", prompts, delimiters=[2, 3], layers=1)
    trace = run(params, prompts.tokens, config, found, record={HookPoint.NEURON})[1]
    kinds: dict[str, list[np.ndarray]] = {}

    def kind(tokens: Any, b: int, p: int) -> str:
        ids, mask = np.asarray(tokens.ids), np.asarray(tokens.mask)
        return "first" if p == mask[b].argmax() else "delimiter" if ids[b, p] in (2, 3) else "other"

    for one in data:
        for b, p in np.argwhere(one.tokens.mask):
            kinds.setdefault(kind(one.tokens, b, p), []).append(np.asarray(one[HookPoint.NEURON])[1, b, p])
    for b, p in np.argwhere(prompts.tokens.mask):
        of = kind(prompts.tokens, b, p)
        if of in kinds:
            got = trace[HookPoint.NEURON][1, b, p]
            np.testing.assert_allclose(got, np.mean(kinds[of], axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: intervene("nonsense"), "is not a site"),
        (lambda: intervene("head", "double"), "nothing that an intervention does"),
        (lambda: intervene("head", "add"), "takes a value"),
        (lambda: intervene("head", "zero", 3), "takes no value"),
        (lambda: intervene("neuron", heads=3), "neuron has no heads"),
        (lambda: intervene("final_residual", layers=1), "final_residual has no layers"),
        (lambda: intervene("head", heads=1.5), "no place"),
        (lambda: intervene("neuron", experts=1), "This model has no experts"),
        (lambda: intervene("head", experts=1), "head has no experts"),
        (lambda: intervene("head", heads=4), "There is no head 4 of head: they run from 0 to 3"),
        (lambda: intervene("head", layers=-3), "There is no layer -3"),
        (lambda: intervene("neuron", positions=5), "There is no position 5"),
        (lambda: intervene("neuron", positions=[[1], [2], [3]]), "of 3 prompts, and there are 2"),
        (lambda: intervene("mlp_write", "add", np.ones(5)), "has shape [5], which does not broadcast"),
        (lambda: intervene("mlp_write", "add", np.ones((3, 1, 1, 12))), "or [2, 2, 5, 12] with a layer axis"),
        (lambda: intervene("attn_out_sigma"), "This model has no attn_out_sigma"),
        (lambda: "head", "takes an Intervention"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make: Any, says: str) -> None:
    with pytest.raises(LandedError) as refusal:
        checked(make(), SMALL, 2, 5)
    assert says in str(refusal.value)
