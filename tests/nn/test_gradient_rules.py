"""Rules of relevance against torch's autograd with detached factors, on the same weights, in float64."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.forward_pass import context_of, forward
from landed_jax.interventions import freeze_pattern, freeze_sigma, gradients, intervene
from landed_jax.methods._constants import constants_share
from landed_jax.nn.functions import ACTIVATIONS, gated
from landed_jax.nn.gradient_rules import ATTNLRP, PLAIN, RELP, GradientRules, secant
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.modules import Block
from landed_jax.nn.tap import Plan
from landed_jax.tokens import Tokens
from tests.models import CONFIGS, HELD, NAMES, SMALL, random_params, random_tokens
from tests.torch_here import torch

SIGMA_ONLY = GradientRules(sigma=True)
EACH_RULE = {
    "plain": PLAIN,
    "sigma": SIGMA_ONLY,
    "activation": GradientRules(activation=True),
    "products": GradientRules(products=True),
    "held": GradientRules(attention="held"),
    "halved": GradientRules(attention="halved"),
    "RelP": RELP,
    "AttnLRP": ATTNLRP,
}
SITES = [HookPoint.EMBEDDING, HookPoint.HEAD, HookPoint.NEURON, HookPoint.QUERY, HookPoint.KEY, HookPoint.VALUE]


def halved(x: torch.Tensor) -> torch.Tensor:
    return x / 2 + (x / 2).detach()


class Torch:
    """A llama written out in torch, whose rules are detached factors."""

    def __init__(self, config: Any, params: Any, rules: GradientRules) -> None:
        self.config, self.rules = config, rules
        self.params = jax.tree.map(lambda leaf: torch.from_numpy(np.array(leaf)), params)
        self.kept: dict[HookPoint, list[torch.Tensor]] = {site: [] for site in SITES}

    def keep(self, site: HookPoint, x: torch.Tensor) -> torch.Tensor:
        x.requires_grad_()
        x.retain_grad()
        self.kept[site].append(x)
        return x

    def norm(self, x: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
        sigma = (x.square().mean(-1, keepdim=True) + self.config.norm_eps).sqrt()
        return x / (sigma.detach() if self.rules.sigma else sigma) * gamma

    def rotated(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        columns, places = (torch.arange(n, dtype=torch.float64) for n in (len(x), half))
        angles = columns[:, None] / self.config.rope.theta ** (places / half)[None]
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        first, second = x[..., :half], x[..., half:]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    def halves(self, *factors: torch.Tensor) -> list[torch.Tensor]:
        return [halved(x) if self.rules.attention == "halved" else x for x in factors]

    def attention(self, x: torch.Tensor, part: Any) -> torch.Tensor:
        q, k, v = (torch.einsum("pm,him->phi", x, part[f"W_{name}"]) for name in "QKV")
        q = self.keep(HookPoint.QUERY, self.rotated(q))
        k = self.keep(HookPoint.KEY, self.rotated(k))
        v = self.keep(HookPoint.VALUE, v)
        q, k = self.halves(q, k)
        k, v = (y.repeat_interleave(self.config.group_size, dim=1) for y in (k, v))
        scores = torch.einsum("qhi,khi->hqk", q, k) * self.config.head_dim**-0.5
        unseen = torch.ones(scores.shape[1:]).triu(1).bool()
        pattern = scores.masked_fill(unseen, -torch.inf).softmax(-1)
        pattern, v = self.halves(pattern.detach() if self.rules.attention == "held" else pattern, v)
        z = self.keep(HookPoint.HEAD, torch.einsum("hqk,khi->qhi", pattern, v))
        return torch.einsum("phi,mhi->pm", z, part["W_O"])

    def mlp(self, x: torch.Tensor, part: Any) -> torch.Tensor:
        gate, up = x @ part["W_gate"].T, x @ part["W_up"].T
        act = torch.nn.functional.silu(gate)
        act = gate * (act / gate).detach() if self.rules.activation else act
        act, up = (halved(y) if self.rules.products else y for y in (act, up))
        return self.keep(HookPoint.NEURON, act * up) @ part["W_down"].T

    def value(self, ids: list[int], vector: np.ndarray) -> torch.Tensor:
        x = self.keep(HookPoint.EMBEDDING, self.params["embed"]["W_E"][ids].clone())
        for layer in self.params["layers"].values():
            x = x + self.attention(self.norm(x, layer["attn_norm"]["gamma"]), layer["attn"])
            x = x + self.mlp(self.norm(x, layer["mlp_norm"]["gamma"]), layer["mlp"])
        return self.norm(x, self.params["final_norm"]["gamma"])[-1] @ torch.from_numpy(vector)


@pytest.mark.quick
@pytest.mark.parametrize("name", EACH_RULE)
def test_rules_are_detached_factors_of_torch(name: str, x64: None) -> None:
    rules, params = EACH_RULE[name], random_params(SMALL, dtype=np.float64)
    ids, vector = [3, 11, 7, 2, 5], np.random.default_rng(0).normal(size=SMALL.d_model)
    reference = Torch(SMALL, params, rules)
    value = reference.value(ids, vector)
    value.backward()
    question = landed.Vector(jnp.asarray(vector), site="final")
    found = gradients(landed.Model(SMALL, params), [ids], question, SITES, rules=rules)
    np.testing.assert_allclose(found.value[0, 0], value.item(), rtol=1e-12)
    for site, tensors in reference.kept.items():
        slopes = np.asarray(found.slopes[site])
        slopes = slopes[0] if site == HookPoint.EMBEDDING else slopes[:, 0]
        grads = [one.grad for one in tensors]
        expected = np.stack(
            [np.zeros(one.shape) if g is None else g.numpy() for one, g in zip(tensors, grads, strict=True)]
        )
        size = max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(slopes, expected.reshape(slopes.shape), rtol=0, atol=1e-12 * size, err_msg=site)


@pytest.mark.parametrize("rules", [RELP, ATTNLRP], ids=["RelP", "AttnLRP"])
@pytest.mark.parametrize(("name", "hold"), HELD)
def test_relevance_is_conserved(name: str, hold: Any, rules: GradientRules, x64: None) -> None:
    """From layer to layer it changes by what biases add, and by what each softmax keeps, and by nothing else."""
    config = CONFIGS[name]
    params, tokens = hold(random_params(config, dtype=np.float64)), random_tokens(config)
    sites = [HookPoint.EMBEDDING, HookPoint.QUERY, HookPoint.KEY, HookPoint.PATTERN]
    sites += [HookPoint.POSITION_EMBEDDING] if config.learned_positions else []
    sites += [HookPoint.ROUTER, HookPoint.EXPERT_WEIGHT] if config.n_experts else []
    vector = jnp.asarray(np.random.default_rng(0).normal(size=(2, config.d_model)))
    question = landed.Vector(vector[:, None], site="final")
    found = gradients(landed.Model(config, params), tokens, question, sites, rules=rules)
    relevance = {site: np.asarray(found.values[site] * slope) for site, slope in found.slopes.items()}

    def total(site: HookPoint) -> np.ndarray:
        whole = relevance[site]
        return whole.sum((1, 2)) if site.value.endswith("embedding") else np.moveaxis(whole, 1, 0).reshape(2, -1).sum(1)

    parts = constants_share(params, tokens, vector, config=config, rules=rules, dtype=jnp.dtype("float64"))
    parts = np.asarray(parts) + sum(total(site) for site in sites if site.value.endswith("embedding"))
    if rules == ATTNLRP:
        parts += total(HookPoint.PATTERN) - total(HookPoint.QUERY) - total(HookPoint.KEY)
        parts += total(HookPoint.EXPERT_WEIGHT) - total(HookPoint.ROUTER) if config.n_experts else 0
    value = np.asarray(found.value)[:, 0]
    np.testing.assert_allclose(parts, value, rtol=0, atol=1e-12 * max(1, np.abs(value).max()))
    # The biases are not nothing, where there are any.
    biased = config.output_bias or config.norm == "layer"
    assert (np.abs(parts - total(HookPoint.EMBEDDING)).max() > 1e-3) == (
        biased or rules == ATTNLRP or config.n_experts > 0
    )


@pytest.mark.parametrize("name", ["small", "both_norms", "layer_norm"])
def test_with_everything_frozen_the_slope_is_the_change(name: str, x64: None) -> None:
    """σ and patterns are those of the clean run: a change of attention's write at the last layer is exactly its slope
    under rules that hold both, and its landed contribution in a parallel block, where it has a direct path alone.
    """
    config = dataclasses.replace(CONFIGS[name], parallel_blocks=True)
    model, tokens = landed.Model(config, random_params(config, dtype=np.float64)), random_tokens(config)
    trace = model.trace(tokens, record=landed.WRITES | {HookPoint.PATTERN})
    question = landed.Vector(jnp.asarray(np.random.default_rng(0).normal(size=config.d_model)), site="final")
    rules = GradientRules(sigma=True, attention="held")
    found = gradients(model, tokens, question, [HookPoint.HEAD], rules=rules)
    share = np.asarray(jnp.sum(found.values[HookPoint.HEAD] * found.slopes[HookPoint.HEAD], axis=(2, 4)))[1]
    frozen = [freeze_sigma(trace), freeze_pattern(trace)]
    runs = [intervene("head", "zero", layers=1, heads=head) for head in range(config.n_heads)]
    effect = np.asarray(landed.sweep(model, tokens, runs, question, always=frozen).effect)[..., 0].T
    heads = np.asarray(landed.attribute(trace, question).landed.heads)[1, :, -1]
    for measured in (effect, heads):
        np.testing.assert_allclose(share, measured, rtol=0, atol=1e-12 * np.abs(share).max())


@pytest.mark.parametrize("rules", [RELP, ATTNLRP, SIGMA_ONLY], ids=["RelP", "AttnLRP", "sigma"])
@pytest.mark.parametrize("name", NAMES)
def test_values_stay_bit_for_bit(name: str, rules: GradientRules) -> None:
    """Of a block, evaluated step by step: a compiler may join other steps in another program."""
    config = CONFIGS[name]
    params, tokens = random_params(config), random_tokens(config)
    context = context_of(tokens, config, (), jnp.dtype("float32"))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, config.d_model)), jnp.float32)
    record = frozenset({HookPoint.HEAD, HookPoint.NEURON, HookPoint.PATTERN})
    found = []
    for plan in (Plan(record), Plan(record, rules=rules)):
        block = Block(config, plan, config.kinds[0], parent=None)
        found.append(
            block.apply({"params": params["layers"]["0"]}, x, jnp.int32(0), context, mutable=["intermediates"])
        )
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), *found))


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "gelu_fast", "quick_gelu", "relu", "relu2"])
def test_the_identity_rule_gives_an_activation_its_own_value(activation: Any, x64: None) -> None:
    x = jnp.array([-30.0, -2.0, -1e-9, 0.0, 1e-300, 1e-9, 0.3, 40.0])
    function: Callable[[jax.Array], jax.Array] = ACTIVATIONS[activation]
    value, slopes = jax.value_and_grad(lambda x: jnp.sum(secant(function, x)))(x)
    assert value == jnp.sum(function(x)) and jnp.isfinite(slopes).all()
    np.testing.assert_allclose(x * slopes, function(x), rtol=1e-12)
    if activation != "relu":  # at 0 it is the same as near it
        np.testing.assert_allclose(slopes[3], slopes[5], atol=1e-8)


def test_a_clamped_gate_shares_all_but_the_constant(x64: None) -> None:
    gate, up = (jnp.asarray(np.random.default_rng(seed).normal(size=50) * 6) for seed in (0, 1))
    function = functools.partial(gated, "clamped_swiglu", rules=RELP)
    slopes = jax.grad(lambda gate, up: jnp.sum(function(gate, up)), argnums=(0, 1))(gate, up)
    assert jnp.array_equal(function(gate, up), gated("clamped_swiglu", gate, up))
    np.testing.assert_allclose(gate * slopes[0] + up * slopes[1], function(gate, up), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_without_rules_no_step_is_added(name: str) -> None:
    """The forward pass has no custom derivative and holds nothing."""
    config = CONFIGS[name]
    params, tokens = random_params(config), random_tokens(config)
    text = str(jax.make_jaxpr(lambda params: forward(params, Tokens(tokens.ids, tokens.mask), config)[0])(params))
    assert "halved" not in text and "secant" not in text and "with_slope_of" not in text
