"""Every method for every kind of model; what each promises."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.interventions import intervene, sweep, zero_head, zero_neuron
from landed_jax.interventions._gradients import recorded
from landed_jax.methods import Scores, methods
from landed_jax.methods.integrated_gradients import score as integrated_gradients
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import stack_layers
from landed_jax.patching import attribution_patching
from landed_jax.tasks import Pairs
from landed_jax.tokens import Tokens
from tests.models import CONFIGS, HELD, SMALL, random_params

NAMES = sorted(methods())
CONSERVING = ("ALTI-Logit", "AttnLRP", "landed", "unscaled")


def pairs_for(config: ModelConfig, seed: int = 0, lengths: tuple[int, ...] = (5, 3)) -> Pairs:
    """Prompts whose corrupted form differs in one token, with two right answers for the first."""
    random = np.random.default_rng(seed)
    clean = [random.integers(0, config.vocab_size, n).tolist() for n in lengths]
    corrupted = [[*prompt[:1], (prompt[1] + 1) % config.vocab_size, *prompt[2:]] for prompt in clean]
    right, wrong = np.array([[1, 2], [3, -1]], np.int32), np.array([[4], [5]], np.int32)
    return Pairs(Tokens.from_lists(clean), Tokens.from_lists(corrupted), jnp.asarray(right), jnp.asarray(wrong))


def model_of(config: ModelConfig, hold: Any = lambda params: params, dtype: Any = np.float64) -> landed.Model:
    return landed.Model(config, hold(random_params(config, dtype=dtype)))


def arrays(scores: Scores) -> dict[str, np.ndarray]:
    names = ("heads", "neurons", "tokens", "value", "conservation_error")
    return {name: np.asarray(part) for name in names if (part := getattr(scores, name)) is not None}


def difference(model: landed.Model, pairs: Pairs, tokens: Tokens) -> np.ndarray:
    """Of uncapped logits, by hand."""
    normed = np.asarray(recorded(model, tokens, ())[HookPoint.FINAL_NORMED])[:, -1]
    params: Any = model.params
    rows = params["embed"]["W_E"] if model.config.tie_embeddings else params["unembed"]["W_U"]
    logits = normed @ np.asarray(rows).T * model.config.logit_scale
    return np.array([logits[0, [1, 2]].mean() - logits[0, 4], logits[1, 3] - logits[1, 5]])


@pytest.mark.quick
@pytest.mark.parametrize(("name", "hold"), HELD)
def test_every_method_on_every_kind_of_model(name: str, hold: Any, x64: None) -> None:
    """Shapes, values, padding, and sums to the rounding of float64 where the method promises them."""
    config = CONFIGS[name]
    model, pairs = model_of(config, hold), pairs_for(config)
    clean = difference(model, pairs, pairs.clean)
    for title, method in methods().items():
        scores = method.score(model, pairs)
        shapes = {"heads": (config.n_layers, 2, config.n_heads), "neurons": (config.n_layers, 2, config.d_ff)}
        shapes |= {"tokens": (2, 5), "value": (2,), "conservation_error": (2,)}
        found = arrays(scores)
        for part, values in found.items():
            assert values.shape == shapes[part] and np.isfinite(values).all(), (title, part)
        assert ("conservation_error" in found) == (title != "random"), title
        assert {"heads"} <= found.keys() and not (config.n_experts and "neurons" in found), title
        if "tokens" in found:
            assert not found["tokens"][1, :2].any(), title
        if method.corrupted:
            change = clean - difference(model, pairs, pairs.corrupted)
            np.testing.assert_allclose(scores.value, change, rtol=1e-10)
            error = found["tokens"].sum(1) - change
            np.testing.assert_allclose(found["conservation_error"], error, rtol=0, atol=1e-10, err_msg=title)
        elif title != "unscaled":
            np.testing.assert_allclose(scores.value, clean, rtol=1e-10, err_msg=title)
        if title in CONSERVING:
            assert np.abs(found["conservation_error"]).max() < 1e-12 * max(1, np.abs(clean).max()), title


@pytest.mark.parametrize("title", NAMES)
def test_a_corrupted_prompt_counts_where_it_is_said_to(title: str) -> None:
    model, pairs = model_of(SMALL, dtype=np.float32), pairs_for(SMALL)
    method, same = methods()[title], dataclasses.replace(pairs, corrupted=pairs.clean)
    before, after = (arrays(method.score(model, one)) for one in (pairs, same))
    changed = [not np.array_equal(before[part], after[part]) for part in before]
    assert any(changed) == method.corrupted
    if method.corrupted:  # what does not change has no effect
        assert max(np.abs(after[part]).max() for part in after) < 1e-5


@pytest.mark.parametrize("title", NAMES)
def test_in_the_users_transforms(title: str) -> None:
    """Under ``jit`` with the pairs as its argument, under ``vmap`` over pairs, with stacked layers, float32."""
    model = model_of(SMALL, dtype=np.float32)
    each = [pairs_for(SMALL, seed, lengths=(5, 5)) for seed in (0, 1)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    def plain(pairs: Pairs) -> Any:
        scores = methods()[title].score(model, pairs)
        return scores.heads, scores.neurons, scores.tokens, scores.value

    compiled, mapped = jax.jit(plain)(each[1]), jax.vmap(plain)(together)
    stacked = methods()[title].score(dataclasses.replace(model, params=stack_layers(model.params)), each[1])
    others = (stacked.heads, stacked.neurons, stacked.tokens, stacked.value)
    expected = plain(each[1])
    for place, part in enumerate(expected):
        for other in (compiled[place], others[place], None if part is None else mapped[place][1]):
            assert (other is None) == (part is None)
            if part is not None:
                np.testing.assert_allclose(np.asarray(other), part, rtol=0, atol=3e-5 * float(jnp.abs(part).max()))


def test_gradient_x_input_is_the_derivative_of_scaling(x64: None) -> None:
    model, pairs = model_of(SMALL), pairs_for(SMALL)
    question, step = pairs.question(model.params, SMALL), 1e-5
    scores = methods()["gradient x input"].score(model, pairs)
    assert scores.heads is not None and scores.neurons is not None and scores.tokens is not None
    places = [("head", {"layers": 1, "heads": 2}, scores.heads[1, :, 2])]
    places += [("neuron", {"layers": 0, "neurons": 4}, scores.neurons[0, :, 4])]
    places += [("embedding", {"positions": 3}, scores.tokens[:, 3])]
    for site, where, expected in places:
        runs = [intervene(site, "scale", 1 + sign * step, **where) for sign in (1, -1)]
        plus, minus = sweep(model, pairs.clean, runs, question).value[..., 0]
        np.testing.assert_allclose((plus - minus) / (2 * step), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["small", "layer_norm"])
def test_what_gradient_x_input_lacks_of_the_value(name: str, x64: None) -> None:
    """Its sum is the derivative of scaling all that the stream begins with, learned positions too."""
    config = CONFIGS[name]
    model, pairs = model_of(config), pairs_for(config)
    question, step = pairs.question(model.params, config), 1e-5
    sites = ["embedding", *(["position_embedding"] if config.learned_positions else [])]
    runs = [[intervene(site, "scale", 1 + sign * step) for site in sites] for sign in (1, -1)]
    plus, minus = np.asarray(sweep(model, pairs.clean, runs, question).value)[..., 0]
    found = arrays(methods()["gradient x input"].score(model, pairs))
    lacks = (plus - minus) / (2 * step) - found["value"]
    np.testing.assert_allclose(found["conservation_error"], lacks, rtol=0, atol=1e-7)
    assert np.abs(lacks).min() > 1e-3


@pytest.mark.parametrize("name", ["biased", "layer_norm"])
def test_direct_effects_sum_where_sigma_is_constant(name: str, x64: None) -> None:
    """As it is under so large an ε in the final norm's place, which γ takes out again; and elsewhere they do not."""
    config = CONFIGS[name]
    errors = []
    for large in (1.0, 1e7):
        changed = dataclasses.replace(config, norm_eps=config.norm_eps if large == 1 else large**2)
        model = model_of(changed)
        final = model.params["final_norm"]
        params = {**model.params, "final_norm": {**final, "gamma": final["gamma"] * large}}
        model = dataclasses.replace(model, params=params)
        found = arrays(methods()["direct effect"].score(model, pairs_for(config)))
        errors.append(np.abs(found["conservation_error"]).max() / np.abs(found["value"]).max())
    assert errors[0] > 1e-3 and errors[1] < 1e-8


def test_attribution_patching_in_steps_is_one_function(x64: None) -> None:
    """The method's heads are those of `attribution_patching`, from either prompt's side."""
    model, pairs = model_of(SMALL), pairs_for(SMALL)
    scores = methods()["attribution patching with integrated gradients"].score(model, pairs)
    directions: list[tuple[Any, int]] = [("denoise", 1), ("noise", -1)]
    for direction, sign in directions:
        found = attribution_patching(model, pairs, components="heads", direction=direction, steps=5)
        expected = np.moveaxis(np.asarray(found.effect)[..., 0], 2, 1)
        np.testing.assert_allclose(arrays(scores)["heads"], sign * expected, rtol=1e-9, atol=1e-12)


def test_patching_methods_are_exact_to_first_order(x64: None) -> None:
    """Where a component changes by little, all of them give the effect of patching it, with its sign."""
    model, pairs = model_of(SMALL), pairs_for(SMALL)
    W_E = np.array(model.params["embed"]["W_E"])
    step = 1e-4  # the corrupted prompt's embedding is nearly the clean one's
    for clean, corrupted in zip(np.asarray(pairs.clean.ids), np.asarray(pairs.corrupted.ids), strict=True):
        for a, b in zip(clean, corrupted, strict=True):
            if a != b:
                W_E[b] = W_E[a] + step * np.random.default_rng(b).normal(size=W_E.shape[1])
    model = dataclasses.replace(model, params={**model.params, "embed": {"W_E": jnp.asarray(W_E)}})
    corrupted = recorded(model, pairs.corrupted, {HookPoint.HEAD, HookPoint.NEURON})
    question = pairs.question(model.params, SMALL)
    runs = [intervene("head", "replace", corrupted[HookPoint.HEAD], layers=1, heads=2)]
    runs += [intervene("neuron", "replace", corrupted[HookPoint.NEURON], layers=0, neurons=4)]
    measured = np.asarray(sweep(model, pairs.clean, runs, question).effect)[..., 0]
    for title in ("attribution patching", "attribution patching with integrated gradients"):
        scores = methods()[title].score(model, pairs)
        assert scores.heads is not None and scores.neurons is not None and scores.tokens is not None
        found = np.stack([scores.heads[1, :, 2], scores.neurons[0, :, 4]])
        np.testing.assert_allclose(found, measured, rtol=0, atol=10 * step * np.abs(measured).max(), err_msg=title)
        total, change = np.sum(scores.tokens, axis=1), np.asarray(scores.value)
        np.testing.assert_allclose(total, change, rtol=0, atol=10 * step * np.abs(change).max())


def test_integrated_gradients_become_complete(x64: None) -> None:
    """The error falls with the square of the steps, and what is left is small."""
    model, pairs = model_of(SMALL), pairs_for(SMALL)
    coarse, fine, finest = (arrays(integrated_gradients(model, pairs, steps=steps)) for steps in (16, 32, 64))
    errors = [np.abs(one["conservation_error"]).max() for one in (coarse, fine, finest)]
    assert errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3
    assert errors[2] < 2e-3 * np.abs(finest["value"]).max()
    with pytest.raises(LandedError, match="no number of steps"):
        integrated_gradients(model, pairs, steps=0)


def test_landed_and_unscaled_differ_by_the_norm_alone(x64: None) -> None:
    """Where γ is 1, the one is the other over σ."""
    model, pairs = model_of(SMALL), pairs_for(SMALL)
    plain = {**model.params, "final_norm": {"gamma": jnp.ones(SMALL.d_model)}}
    model = dataclasses.replace(model, params=plain)
    sigma = np.asarray(recorded(model, pairs.clean, ())[HookPoint.FINAL_SIGMA])[:, -1]
    landed_scores, unscaled = (arrays(methods()[title].score(model, pairs)) for title in ("landed", "unscaled"))
    for part, axis in (("heads", 1), ("neurons", 1), ("tokens", 0)):
        shape = [1] * landed_scores[part].ndim
        shape[axis] = 2
        np.testing.assert_allclose(landed_scores[part] * sigma.reshape(shape), unscaled[part], rtol=1e-9, atol=1e-12)


def test_the_last_layer_has_direct_paths_alone(x64: None) -> None:
    """Its heads' (in a parallel block) and neurons' direct effects are those of zero ablations at the last position."""
    config = dataclasses.replace(SMALL, parallel_blocks=True)
    model, pairs = model_of(config), pairs_for(config)
    scores, question = methods()["direct effect"].score(model, pairs), pairs.question(model.params, config)
    runs = [zero_head(1, head) for head in range(4)] + [zero_neuron(1, neuron) for neuron in range(10)]
    measured = np.asarray(sweep(model, pairs.clean, runs, question).effect)[..., 0]
    assert scores.heads is not None and scores.neurons is not None
    found = np.concatenate([scores.heads[1].T, scores.neurons[1].T])
    np.testing.assert_allclose(found, measured, rtol=1e-9, atol=1e-11)


def test_tokens_of_alti_are_those_of_brute_force(x64: None) -> None:
    """With NumPy, from the definition, in a model of biases."""
    config = CONFIGS["biased"]
    model, pairs = model_of(config), pairs_for(config, lengths=(4, 4))
    scores = methods()["ALTI-Logit"].score(model, pairs)
    sites = {HookPoint.PATTERN, HookPoint.VALUE, HookPoint.ATTN_RESIDUAL, HookPoint.MLP_RESIDUAL, HookPoint.MLP_WRITE}
    trace = recorded(model, pairs.clean, {*sites, HookPoint.EMBEDDING})
    at = {site: np.asarray(trace[site]) for site in (*sites, HookPoint.EMBEDDING)}
    read = np.asarray(pairs.question(model.params, config).vector)[:, 0] * np.asarray(trace[HookPoint.FINAL_GAMMA])
    read = read / np.asarray(trace[HookPoint.FINAL_SIGMA])[:, -1:]
    for b in range(2):
        made_of, expected = np.eye(4), np.zeros(4)
        for layer in range(config.n_layers):
            W_O = np.asarray(model.params["layers"][str(layer)]["attn"]["W_O"])
            pattern, value = at[HookPoint.PATTERN][layer, b], at[HookPoint.VALUE][layer, b]
            values = np.repeat(value, config.group_size, axis=1)
            part = np.einsum("hqk,khi,mhi->qkm", pattern, values, W_O)
            expected += (part[-1] @ read[b]) @ made_of
            part[np.arange(4), np.arange(4)] += at[HookPoint.ATTN_RESIDUAL][layer, b]
            whole = at[HookPoint.MLP_RESIDUAL][layer, b]
            nearer = np.abs(whole).sum(-1)[:, None] - np.abs(whole[:, None] - part).sum(-1)
            nearer = np.maximum(nearer, 0)
            made_of = nearer / nearer.sum(1, keepdims=True) @ made_of
            expected += at[HookPoint.MLP_WRITE][layer, b, -1] @ read[b] * made_of[-1]
        expected[-1] += at[HookPoint.EMBEDDING][b, -1] @ read[b]
        assert scores.tokens is not None
        np.testing.assert_allclose(scores.tokens[b], expected, rtol=1e-9, atol=1e-12)


def test_random_scores_are_a_prompts_own() -> None:
    """The same in another batch with other padding, and others for another prompt."""
    model, pairs = model_of(SMALL, dtype=np.float32), pairs_for(SMALL)
    alone = dataclasses.replace(
        jax.tree.map(lambda leaf: leaf[1:], pairs),
        clean=Tokens(pairs.clean.ids[1:, 2:], pairs.clean.mask[1:, 2:]),
    )
    both, one = (methods()["random"].score(model, part) for part in (pairs, alone))
    assert both.heads is not None and one.heads is not None
    assert np.array_equal(both.heads[:, 1], one.heads[:, 0])
    assert not np.array_equal(both.heads[:, 0], both.heads[:, 1])


@pytest.mark.parametrize("title", NAMES)
def test_results_have_named_axes_and_methods_a_source(title: str) -> None:
    method = methods()[title]
    scores = method.score(model_of(SMALL, dtype=np.float32), pairs_for(SMALL)).to_xarray()
    assert scores.heads.dims == ("layer", "batch", "head")
    published = re.search(r"20\d\d", method.reference) or method.differs
    assert method.name == title and (published or title == "random")


@pytest.mark.parametrize("name", [name for name in NAMES if methods()[name].corrupted])
def test_prompts_that_are_not_aligned_are_refused(name: str) -> None:
    pairs = pairs_for(SMALL)
    other = dataclasses.replace(pairs, corrupted=Tokens(pairs.corrupted.ids, jnp.ones_like(pairs.corrupted.mask)))
    with pytest.raises(LandedError, match="Clean prompt 1 has 3 tokens and its corrupted one 5"):
        methods()[name].score(model_of(SMALL, dtype=np.float32), other)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_whether_it_scores_neurons(name: str) -> None:
    method = methods()[name]
    assert (method.score(model_of(SMALL, dtype=np.float32), pairs_for(SMALL)).neurons is not None) == method.neurons
