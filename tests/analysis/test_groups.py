"""Writes removed together, against the same done by brute force in NumPy and float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, HookPoint, LandedError, Trace, Write
from landed_jax.analysis.attribution._groups import GroupEffect, group_effect, layer_group, summed_writes, write_group
from landed_jax.nn import PerWrite
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.stream_order import site_names
from tests.models import BIASED, CONFIGS, NAMES, SMALL, n_sites, random_params, random_tokens
from tests.reference.landed import every_write, heard, land, lost_with, sigma_of
from tests.reference.numpy_model import numpy_forward
from tests.traces import asked_by, column, real_positions, run, traced

MIXED = [Write("embedding"), Write("head", 0, 1), Write("neuron", 0, 4), Write("neuron", 0, 6), Write("mlp_bias", 0)]
MIXED_OF_EXPERTS = [Write("head", 0, 1), Write("neuron", 0, 4, expert=2), Write("neuron", 1, 0, expert=0)]
SMALL_TRACE = WRITES | RESIDUALS


def random_group(trace: Trace, seed: int = 0) -> PerWrite:
    """A fraction of every write, another at each position."""
    random = np.random.default_rng(seed)
    like = landed.attribute(trace, 0, effects=False).landed
    return jax.tree.map(lambda leaf: jnp.asarray(random.uniform(-0.5, 1.5, leaf.shape)), like)


def widened(group: PerWrite, like: PerWrite) -> PerWrite:
    return jax.tree.map(lambda weight, whole: jnp.broadcast_to(weight, whole.shape), group, like)


def by_brute_force(
    numbers: dict,
    params: dict,
    config: ModelConfig,
    weights: np.ndarray,
    vector: np.ndarray,
    site: int,
    b: int,
    p: int,
) -> tuple[float, float, float]:
    """Landed contribution, direct effect and σ′ of a group, every write made, removed and read again."""
    written = every_write(numbers, config, b, p)
    w = (weights * (written.sites <= site)) @ written.vectors
    x, gamma = numbers["residual"][site, b, p], numbers["gamma"][site]
    left = x - lost_with(numbers, params, config, weights, site, b, p)
    has_norm = config.has_norm(site_names(config)[site])
    without = sigma_of(left, config) if has_norm else 1.0
    whole, landed = (land(part, numbers, config, site, b, p) @ vector for part in (x, w))
    return landed, whole - heard(left, config) / without * gamma @ vector, without


@pytest.mark.quick
@pytest.mark.parametrize("name", ["stacked", *NAMES[1:]])
def test_groups_equal_brute_force_at_a_first_a_middle_and_the_last_site(name: str, x64: None) -> None:
    config, hold = (SMALL, stack_layers) if name == "stacked" else (CONFIGS[name], dict)
    params = random_params(config, dtype=jnp.float64)
    numbers = numpy_forward(params, random_tokens(config).ids, random_tokens(config).mask, config)
    trace = traced(config, SMALL_TRACE, hold(params))
    fractions = random_group(trace)
    mixed = write_group(config, MIXED) if not config.n_experts else write_group(trace, MIXED_OF_EXPERTS)
    named = [mixed, layer_group(config, config.n_layers - 1, "mlp"), layer_group(config, 0)]
    groups = [fractions, *(widened(group, fractions) for group in named)]
    many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
    vector = np.random.default_rng(1).standard_normal(config.d_model)
    for index in ({"stacked": 0, "biased": 3}.get(name, 1), n_sites(config) - 1):
        site = site_names(config)[index]
        read = landed.resolve(trace, landed.Vector(jnp.asarray(vector), site=site))
        found = jax.jit(jax.vmap(lambda g, read=read: group_effect(trace, read, group=g)))(many)
        for g, group in enumerate(groups):
            for b, p in real_positions(trace):
                expected = by_brute_force(numbers, params, config, column(group, b, p), vector, index, b, p)
                ours = [part[g, b, p] for part in (found.landed, found.effect, found.sigma_without)]
                np.testing.assert_allclose(ours, expected, atol=1e-9, rtol=1e-9)
        np.testing.assert_allclose(found.mediated, found.effect - found.landed, atol=1e-12)
        assert float(found.closure_error.max()) < 1e-11


@pytest.mark.parametrize("arguments", [{"target": jnp.array([1, 2]), "against": 0}, {"centred": True}])
def test_a_group_of_one_is_that_writes_direct_effect(arguments: dict, x64: None) -> None:
    trace = traced(BIASED, params=random_params(BIASED, dtype=jnp.float64))
    shares = landed.attribute(trace, asked_by(**arguments))
    assert shares.direct_effect is not None
    effects = shares.direct_effect
    for write, expected in (
        (Write("embedding"), effects.embedding),
        (Write("head", 1, 2), effects.heads[1, ..., 2]),
        (Write("neuron", 1, 6), effects.neurons[1, ..., 6]),
        (Write("attn_bias", 1), effects.attn_bias[1]),
        (Write("mlp_bias", 0), effects.mlp_bias[0]),
    ):
        found = group_effect(trace, asked_by(**arguments), group=write_group(BIASED, [write, write]))
        np.testing.assert_allclose(found.effect, expected, atol=1e-9)
        np.testing.assert_array_equal(found.value, shares.value)


@pytest.mark.parametrize("part", ["attn", "mlp", "both"])
def test_a_layer_group_is_what_the_layer_wrote(part: str, x64: None) -> None:
    record = WRITES | {HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE}
    trace = traced(BIASED, record, random_params(BIASED, dtype=jnp.float64))
    wrote = {"attn": trace[HookPoint.ATTN_WRITE], "mlp": trace[HookPoint.MLP_WRITE]}
    for layer in range(BIASED.n_layers):
        expected = sum(value[layer] for key, value in wrote.items() if part in (key, "both"))
        np.testing.assert_allclose(summed_writes(trace, layer_group(BIASED, layer, part)), expected, atol=1e-12)


def test_without_any_write_nothing_is_left() -> None:
    trace = traced(BIASED)
    found = group_effect(trace, 1, group=layer_group(BIASED, 0).map(jnp.ones_like))
    np.testing.assert_allclose(found.effect, found.value, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.sigma_without, BIASED.norm_eps**0.5, rtol=1e-6)
    kept = group_effect(trace, 1, group=layer_group(BIASED, 0).map(jnp.zeros_like))
    np.testing.assert_array_equal(kept.effect, 0 * kept.value)
    np.testing.assert_allclose(kept.sigma_without, kept.sigma, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
def test_float32_keeps_its_digits_when_little_stays(size: float) -> None:
    config = dataclasses.replace(SMALL, norm_eps=1e-30)
    output = {"W_O", "W_down"}
    params = jax.tree_util.tree_map_with_path(
        lambda at, v: v * size if at[-1].key in output else v, random_params(config)
    )
    trace = traced(config, params=params)
    found = group_effect(trace, 1, group=write_group(config, [Write("embedding")]))
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    only_embedding = np.eye(len(every_write(numbers, config, 0, 4).vectors))[0]
    vector = np.asarray(params["unembed"]["W_U"][1], np.float64)
    for b, p in real_positions(trace):
        _, effect, without = by_brute_force(numbers, params, config, only_embedding, vector, n_sites(config) - 1, b, p)
        assert abs(found.effect[b, p] - effect) < 1e-5 * np.linalg.norm(vector)
        assert abs(found.sigma_without[b, p] / without - 1) < 1e-5


def test_float32_keeps_the_digits_of_a_small_effect() -> None:
    params = random_params(SMALL)
    params["layers"]["1"]["mlp"]["W_down"] = params["layers"]["1"]["mlp"]["W_down"] * 1e-5
    trace = traced(SMALL, params=params)
    group = write_group(SMALL, [Write("neuron", 1, 3), Write("neuron", 1, 5)])
    found = group_effect(trace, 1, group=group)
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, SMALL)
    vector = np.asarray(params["unembed"]["W_U"][1], np.float64)
    for b, p in real_positions(trace):
        weights = column(widened(group, random_group(trace)), b, p)
        landed_part, effect, _ = by_brute_force(numbers, params, SMALL, weights, vector, n_sites(SMALL) - 1, b, p)
        scale = abs(landed_part) + abs(effect - landed_part)
        assert abs(found.effect[b, p] - effect) < 2e-5 * scale
        assert abs(found.mediated[b, p] - (effect - landed_part)) < 2e-5 * scale


def test_grad_over_the_fraction_removed_matches_finite_differences(x64: None) -> None:
    trace = traced(SMALL, params=random_params(SMALL, dtype=jnp.float64))
    changed, fixed = random_group(trace, 0), random_group(trace, 1)

    @jax.jit
    def effect(fraction: jax.Array) -> jax.Array:
        mine = changed.map(lambda weight, other: 1 - fraction * weight - 0.02 * other, fixed)
        return group_effect(trace, landed.Logit(1, against=2), group=mine).effect[1, 3]

    for fraction in (0.02, 0.9):  # with little left, and with much
        slope = jax.grad(effect)(fraction)
        measured = (effect(fraction + 1e-6) - effect(fraction - 1e-6)) / 2e-6
        np.testing.assert_allclose(slope, measured, rtol=1e-5)


def test_a_padded_bfloat16_batch_equals_a_prompt_of_one_token() -> None:
    params = random_params(SMALL, dtype=jnp.bfloat16)
    group = write_group(SMALL, [Write("head", 1, 0), Write("neuron", 0, 2)])
    whole = group_effect(traced(SMALL, params=params), 1, group=group)
    prompt = random_tokens(SMALL).ids[1, 2:3]  # the second prompt's first token
    _, trace = run(params, prompt[None], SMALL, at=jnp.array([-1]))
    alone = group_effect(trace.bind(params), 1, group=group)
    np.testing.assert_allclose(alone.effect[0, 0], whole.effect[1, 2], atol=1e-5)


def test_an_edited_write_shows_in_the_closure_error() -> None:
    params = random_params(SMALL)
    edits = {HookPoint.MLP_WRITE: lambda value, layer: value + 1.0}
    forward = jax.jit(lambda p: landed.forward(p, random_tokens(SMALL), SMALL, edits=edits))
    _, trace = forward(params)
    found: GroupEffect = group_effect(trace.bind(params), 1, group=write_group(SMALL, MIXED))
    assert float(found.closure_error.min()) > 1e-2


def test_groups_that_cannot_be_say_so() -> None:
    with pytest.raises(LandedError, match="whole writes"):
        write_group(SMALL, [Write("head", 0, 1, source=2)])
    with pytest.raises(LandedError, match="heads run from 0 to 3"):
        write_group(SMALL, [Write("head", 0, 4)])
    with pytest.raises(LandedError, match="no layer 2"):
        layer_group(SMALL, 2)
    with pytest.raises(LandedError, match="attn, mlp and both"):
        layer_group(SMALL, 0, "gate")  # pyright: ignore[reportArgumentType] # what is tested
    trace = traced(SMALL)
    with pytest.raises(LandedError, match="does not broadcast to"):
        group_effect(trace, 1, group=write_group(BIASED, [Write("embedding")]))
    with pytest.raises(LandedError, match="bind"):
        group_effect(dataclasses.replace(trace, params=None), 1, group=write_group(SMALL, MIXED))
    read = landed.reads.Read(jnp.ones((1, 1, 12)), jnp.ones((2, 5)), jnp.zeros((1, 1)), site=site_names(SMALL)[1])
    with pytest.raises(LandedError, match="did not record mlp_residual"):
        group_effect(trace, read, group=write_group(SMALL, MIXED))
