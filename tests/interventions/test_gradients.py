"""Derivatives at hook points against finite differences and torch's autograd, in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.interventions import Divergence, LogProbability, gradients, intervene, zero_head
from landed_jax.nn.hook_points import HookPoint, absent
from landed_jax.nn.parameters import stack_layers
from landed_jax.parity.float64 import float64_throughout
from landed_jax.tokens import Tokens
from tests.compiling import compilations
from tests.models import CONFIGS, HELD, SMALL, random_params, random_tokens
from tests.parity.conversion import convert
from tests.parity.torch_model import hf_config, in_float64, tiny_model
from tests.torch_here import torch

STEP = 1e-5
SOME = [HookPoint.EMBEDDING, HookPoint.HEAD, HookPoint.NEURON, HookPoint.MLP_WRITE]


def differentiable(config: Any) -> list[HookPoint]:
    return [site for site in HookPoint if site not in absent(config) and site != HookPoint.EXPERT]


def log_probability(logits: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(logits, axis=-1)[..., 3]


@pytest.mark.quick
@pytest.mark.parametrize(("name", "hold"), HELD)
def test_slopes_are_finite_differences(name: str, hold: Any, x64: None) -> None:
    """Along a random direction of each hook point, with interventions that are not the same when they are repeated."""
    config = CONFIGS[name]
    params, tokens = hold(random_params(config, dtype=np.float64)), random_tokens(config)
    always = [intervene(f"{part}_residual", "scale", 1.5) for part in ("attn", "mlp", "final")]
    found = gradients(landed.Model(config, params), tokens, log_probability, differentiable(config), always=always)
    random = np.random.default_rng(0)
    directions = {site: random.normal(size=slope.shape) for site, slope in found.slopes.items()}
    assert found.values.keys() == directions.keys() == set(differentiable(config))

    @jax.jit  # one program for all hook points
    def values(steps: jax.Array) -> jax.Array:
        def value(steps: jax.Array) -> jax.Array:
            added = [intervene(s, "add", step * v) for step, (s, v) in zip(steps, directions.items(), strict=True)]
            logits, _ = forward(params, tokens, config, record=(), at=-1, interventions=[*always, added])
            return jnp.sum(log_probability(logits))

        return jax.lax.map(value, steps)

    plus, minus = (values(sign * STEP * jnp.eye(len(directions))) for sign in (1, -1))
    for (site, direction), expected in zip(directions.items(), (plus - minus) / (2 * STEP), strict=True):
        slope = found.slopes[site]
        assert slope.shape == found.values[site].shape
        size = float(np.linalg.norm(slope)) + 1e-3
        np.testing.assert_allclose(np.sum(slope * direction), expected, rtol=0, atol=1e-6 * size, err_msg=site)


@pytest.mark.parametrize(
    "measure", [3, landed.Logit(3, against=5), LogProbability(3), landed.Vector(jnp.ones(12), site="final")]
)
def test_every_measure_is_differentiated(measure: Any, x64: None) -> None:
    model, tokens = landed.Model(SMALL, random_params(SMALL, dtype=np.float64)), random_tokens(SMALL)
    value, found = landed.sweep(model, tokens, [zero_head(1, 2)], measure), gradients(model, tokens, measure, SOME)
    np.testing.assert_allclose(found.value, value.clean, rtol=1e-12)
    direction = np.random.default_rng(0).normal(size=found.slopes[HookPoint.HEAD].shape)
    steps = [intervene("head", "add", sign * STEP * direction) for sign in (1, -1)]
    plus, minus = landed.sweep(model, tokens, steps, measure).value
    expected = np.sum(plus - minus) / (2 * STEP)
    np.testing.assert_allclose(np.sum(found.slopes[HookPoint.HEAD] * direction), expected, rtol=1e-6)


def test_the_divergence_is_flat_where_nothing_changed(x64: None) -> None:
    model, tokens = landed.Model(SMALL, random_params(SMALL, dtype=np.float64)), random_tokens(SMALL)
    found = gradients(model, tokens, Divergence(), SOME)
    assert max(float(jnp.max(jnp.abs(slope))) for slope in found.slopes.values()) < 1e-14


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_slopes_are_those_of_torch(kind: str, x64: None) -> None:
    """Of the streams, heads and neurons of each prompt alone; the batch has padding, where every slope is 0."""
    single, prompts = tiny_model(hf_config(kind)), ([3, 14, 15, 9, 2], [7, 1, 8])
    config, params = convert(single)
    reference = in_float64(single)
    sites = [HookPoint.ATTN_RESIDUAL, HookPoint.HEAD, HookPoint.NEURON]
    found = gradients(landed.Model(config, params), Tokens.from_lists(prompts), log_probability, sites)
    for row, prompt in enumerate(prompts):
        kept: dict[HookPoint, list[torch.Tensor]] = {site: [] for site in sites}
        handles = []
        for layer in reference.model.layers:
            modules = zip(sites, (layer, layer.self_attn.o_proj, layer.mlp.down_proj), strict=True)
            handles += [module.register_forward_pre_hook(keeping(kept[site])) for site, module in modules]
        with float64_throughout():
            logits = reference(torch.tensor([prompt]), use_cache=False).logits[0, -1]
            torch.log_softmax(logits, dim=-1)[3].backward()
        for handle in handles:
            handle.remove()
        for site, tensors in kept.items():
            grads = [one.grad for one in tensors]
            expected = np.stack([grad[0].numpy() for grad in grads if grad is not None])
            slopes = np.asarray(found.slopes[site])[:, row]
            real = slopes[:, -len(prompt) :].reshape(expected.shape)
            np.testing.assert_allclose(real, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
            assert not np.any(slopes[:, : -len(prompt)])


def keeping(into: list[torch.Tensor]) -> Any:
    """A hook that keeps a module's input, with its slope."""

    def hook(_: Any, args: Any) -> Any:
        args[0].retain_grad()
        into.append(args[0])

    return hook


def test_held_otherwise_and_with_narrow_weights(x64: None) -> None:
    """Stacked or not, bfloat16 weights are the same numbers."""
    narrow, tokens = random_params(SMALL, dtype=jnp.bfloat16), random_tokens(SMALL)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), narrow)
    found = [gradients(landed.Model(SMALL, p), tokens, 3, SOME) for p in (narrow, wide, stack_layers(narrow))]
    for site in SOME:
        slopes = [np.asarray(one.slopes[site]) for one in found]
        for other in slopes[1:]:
            np.testing.assert_allclose(other, slopes[0], rtol=0, atol=1e-13 * np.abs(slopes[0]).max())


def test_several_columns_are_summed(x64: None) -> None:
    model, tokens = landed.Model(SMALL, random_params(SMALL, dtype=np.float64)), random_tokens(SMALL)
    both = gradients(model, tokens, 3, SOME, at=[-2, -1])
    each = [gradients(model, tokens, 3, SOME, at=column) for column in (-2, -1)]
    np.testing.assert_allclose(both.value, jnp.concatenate([one.value for one in each], axis=1), rtol=1e-12)
    for site in SOME:
        total = each[0].slopes[site] + each[1].slopes[site]
        np.testing.assert_allclose(both.slopes[site], total, rtol=0, atol=1e-12 * float(jnp.abs(total).max()))


def test_in_the_users_transforms() -> None:
    """The same numbers under ``jit``, and under ``vmap`` over the parts of interventions."""
    model, tokens = landed.Model(SMALL, random_params(SMALL)), random_tokens(SMALL)
    question = landed.Vector(jnp.ones(SMALL.d_model), site="final")

    def slopes(factor: jax.Array) -> Any:
        always = intervene("head", "scale", factor, heads=1)
        return gradients(model, tokens, question, SOME, always=always).slopes

    factors = jnp.array([0.5, 1.0, 2.0])
    together = jax.vmap(slopes)(factors)
    for place, factor in enumerate(factors):
        plain, compiled = slopes(factor), jax.jit(slopes)(factor)
        for site in SOME:
            scale = float(jnp.abs(plain[site]).max())
            for form in (compiled[site], together[site][place]):
                np.testing.assert_allclose(form, plain[site], rtol=0, atol=1e-5 * scale)


@pytest.mark.xla
def test_another_question_or_value_compiles_nothing() -> None:
    model, tokens = landed.Model(SMALL, random_params(SMALL)), random_tokens(SMALL)

    def found(seed: int) -> Any:
        random = np.random.default_rng(seed)
        always = intervene("embedding", "replace", jnp.asarray(random.normal(size=(2, 5, 12)), jnp.float32))
        question = landed.Vector(jnp.asarray(random.normal(size=12), jnp.float32), site="final")
        return gradients(model, tokens, question, SOME, always=always).value

    found(0)
    with compilations() as compiled:
        found(1)
    assert compiled == []


def test_named_axes_and_the_prompts() -> None:
    model = landed.load()
    found = gradients(model, "The Colosseum is in the city of", landed.Logit(" Rome"), [HookPoint.HEAD])
    labelled = found.to_xarray()
    assert labelled["slopes.head"].dims == ("layer", "batch", "position", "head", "head_dim")
    assert labelled["values.head"].sel(position=7).token.item() == " of"


@pytest.mark.parametrize(
    ("site", "says"),
    [("position_embedding", "has no position_embedding to differentiate by"), ("nowhere", "not a site")],
)
def test_what_cannot_be_is_refused_in_a_sentence(site: str, says: str) -> None:
    with pytest.raises(LandedError, match=says):
        gradients(landed.Model(SMALL, random_params(SMALL)), random_tokens(SMALL), 3, [site])  # pyright: ignore[reportArgumentType] # what is refused


def test_the_choice_of_experts_has_no_derivative() -> None:
    config = CONFIGS["experts"]
    with pytest.raises(LandedError, match="no derivative"):
        gradients(landed.Model(config, random_params(config)), random_tokens(config), 3, [HookPoint.EXPERT])
