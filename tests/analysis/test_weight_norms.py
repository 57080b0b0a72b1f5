"""The norms of writes: NumPy's, made of the weights' part once or anew."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.analysis.writes._projections import squared_norms
from landed_jax.nn.parameters import stack_layers
from tests.models import BIASED, CONFIGS, NAMES, SMALL, random_params, random_tokens


@pytest.mark.parametrize("hold", [lambda params: params, stack_layers], ids=["subtrees", "stacked"])
@pytest.mark.parametrize("name", NAMES)
def test_they_are_numpys(name: str, hold, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    norms = landed.writes.weight_norms(hold(params), config)
    for i in range(config.n_layers):
        attn, mlp = params["layers"][str(i)]["attn"], params["layers"][str(i)]["experts" if config.n_experts else "mlp"]
        W_O, W_down = np.asarray(attn["W_O"]), np.asarray(mlp["W_down"])
        if config.norm == "layer":  # which hears no mean
            W_O, W_down = W_O - W_O.mean(0), W_down - W_down.mean(-2, keepdims=True)
        of_attn, of_mlp = (
            config.gain_offset + np.asarray(params["layers"][str(i)][f"{part}_out_norm"]["gamma"])
            if config.output_norms
            else np.ones(config.d_model)
            for part in ("attn", "mlp")
        )
        for h in range(config.n_heads):
            np.testing.assert_allclose(norms.heads[i, h], (W_O[:, h].T * of_attn**2) @ W_O[:, h], atol=1e-13)
        np.testing.assert_allclose(norms.neurons[i], np.einsum("d,...dj->...j", of_mlp**2, W_down**2), atol=1e-13)
        if norms.before is not None:
            np.testing.assert_allclose(norms.before.neurons[i], (W_down**2).sum(-2), atol=1e-13)


# The heads of one position are written out, those of many go by Gram matrices.
@pytest.mark.parametrize("lengths", [(1,), (5, 3), (60, 50)])
@pytest.mark.parametrize("made", [False, True], ids=["anew", "before"])
def test_squared_norms_are_those_of_the_vectors(made: bool, lengths: tuple[int, ...], x64: None) -> None:
    params = random_params(BIASED, dtype=jnp.float64)
    _, trace = jax.jit(landed.forward, static_argnums=2)(params, random_tokens(BIASED, lengths=lengths), BIASED)
    found = squared_norms(trace.bind(params), landed.writes.weight_norms(params, BIASED) if made else None)
    for i in range(BIASED.n_layers):
        attn, mlp = params["layers"][str(i)]["attn"], params["layers"][str(i)]["mlp"]
        heads = np.einsum("bphk,mhk->bphm", trace[landed.HookPoint.HEAD][i], attn["W_O"])
        neurons = np.einsum("bpj,mj->bpjm", trace[landed.HookPoint.NEURON][i], mlp["W_down"])
        np.testing.assert_allclose(found.heads[i], (heads**2).sum(-1), atol=1e-11)
        np.testing.assert_allclose(found.neurons[i], (neurons**2).sum(-1), atol=1e-11)
        np.testing.assert_allclose(found.attn_bias[i], (np.asarray(attn["b_O"]) ** 2).sum(), atol=1e-12)
        np.testing.assert_allclose(found.mlp_bias[i], (np.asarray(mlp["b_down"]) ** 2).sum(), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_effects_are_the_same_with_norms_made_before(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params, tokens = random_params(config, dtype=jnp.float64), random_tokens(config)
    model, norms = landed.Model(config, params), landed.writes.weight_norms(params, config)
    trace = model.trace(tokens)
    expected = landed.attribute(trace).direct_effect
    found = [landed.attribute(trace, norms=norms).direct_effect]
    ways: dict[str, tuple[Literal[1, 2], ...]] = {"small": (1,), "biased": (2,)}
    for passes in ways.get(name, ()):
        whole = landed.reduce.everything()
        streamed = model.attribute_streaming(tokens, whole, effects=True, norms=norms, passes=passes)
        found.append(streamed.reduced.direct_effect)
    assert expected is not None
    for effect in found:
        assert effect is not None
        np.testing.assert_allclose(effect.heads, expected.heads, atol=1e-12)
        np.testing.assert_allclose(effect.neurons, expected.neurons, atol=1e-12)
        np.testing.assert_allclose(effect.mlp_bias, expected.mlp_bias, atol=1e-12)


def test_norms_that_do_not_fit_are_refused(x64: None) -> None:
    params, tokens = random_params(SMALL, dtype=jnp.float64), random_tokens(SMALL)
    trace = landed.Model(SMALL, params).trace(tokens)
    for norms in (
        landed.writes.weight_norms(params, SMALL, "float32"),
        landed.writes.weight_norms(random_params(BIASED), BIASED),
    ):
        with pytest.raises(landed.LandedError, match="weight_norms"):
            landed.attribute(trace, norms=norms)
        with pytest.raises(landed.LandedError, match="weight_norms"):
            landed.Model(SMALL, params).attribute_streaming(
                tokens, landed.reduce.everything(), effects=True, norms=norms
            )


def test_weights_in_bfloat16_give_float32() -> None:
    norms = landed.writes.weight_norms(random_params(SMALL, dtype=jnp.bfloat16), SMALL)
    assert {leaf.dtype for leaf in jax.tree.leaves(norms)} == {jnp.dtype("float32")}
