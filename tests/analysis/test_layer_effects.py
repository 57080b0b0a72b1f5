"""Each layer's whole writes removed, against brute force in float64; a layer that is nearly the stream, in float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, HookPoint, LandedError, Model
from landed_jax.analysis.attribution._layer_effects import LayerEffects, layer_effects
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import stack_layers
from landed_jax.nn.stream_order import site_names
from landed_jax.report.account import account_for
from tests.models import BIASED, CONFIGS, NAMES, SMALL, random_params
from tests.reference.landed import every_write, heard, land, sigma_of
from tests.reference.numpy_model import Arrays, numpy_forward
from tests.traces import real_positions, traced, unembedding

WHOLE = {HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE}


def by_brute_force(
    numbers: Arrays, config: ModelConfig, vector: np.ndarray, site: int, b: int, p: int
) -> dict[str, list[float]]:
    """Every layer's landed contributions and direct effects at a site, from the sum of its writes as vectors."""
    written = every_write(numbers, config, b, p)
    gamma, x = numbers["gamma"][site], numbers["residual"][site, b, p]
    found: dict[str, list[float]] = {"attn_landed": [], "mlp_landed": [], "attn_effect": [], "mlp_effect": []}
    for layer in range(config.n_layers):
        for part, kinds in (("attn", ("head", "attn_bias")), ("mlp", ("neuron", "mlp_bias"))):
            mine = np.array([kind in kinds and at == layer for kind, at, _ in written.names]) & (written.sites <= site)
            others = ~mine & (written.sites <= site)
            # Not x − w, which in float64 too would lose what a massive write leaves.
            w, left = written.vectors[mine].sum(0), written.vectors[others].sum(0)
            has_norm = config.has_norm(site_names(config)[site])
            without = heard(left, config) / (sigma_of(left, config) if has_norm else 1) * gamma
            whole, landed_part = (land(vectors, numbers, config, site, b, p) for vectors in (x, w))
            found[f"{part}_landed"].append(float(landed_part @ vector))
            found[f"{part}_effect"].append(float((whole - without) @ vector))
    return found


@pytest.mark.quick
@pytest.mark.parametrize("name", ["stacked", *NAMES[1:]])
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "from factors"])
def test_equal_brute_force_at_an_early_and_at_the_last_site(name: str, recorded: bool, x64: None) -> None:
    config, hold = (SMALL, stack_layers) if name == "stacked" else (CONFIGS[name], dict)
    params = random_params(config, dtype=jnp.float64)
    record = WRITES | RESIDUALS | WHOLE if recorded else WRITES | RESIDUALS
    trace = traced(config, record, hold(params))
    numbers = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    vector = np.random.default_rng(0).normal(size=config.d_model)
    sites = trace.order.sites
    for index in (1, len(sites) - 1):
        found = layer_effects(trace, landed.Vector(jnp.asarray(vector), site=sites[index]))
        for b, p in real_positions(trace):
            for field, expected in by_brute_force(numbers, config, vector, index, b, p).items():
                np.testing.assert_allclose(getattr(found, field)[:, b, p], expected, atol=1e-12)


def massive(params: dict, layer: str, part: str, times: float) -> dict:
    """The same parameters with one coordinate of everything that one layer's attention or MLP writes made larger."""
    leaf, name = {"attn": ("W_O", "b_O"), "mlp": ("W_down", "b_down")}[part]
    old = params["layers"][layer][part]
    changed = {n: old[n].at[3].multiply(times) for n in (leaf, name) if n in old}
    return params | {"layers": params["layers"] | {layer: params["layers"][layer] | {part: old | changed}}}


@pytest.mark.parametrize("times", [1e3, 3e3, 1e5])
@pytest.mark.parametrize(("layer", "part"), [("0", "mlp"), ("1", "attn")])
def test_a_layer_that_is_nearly_the_stream_keeps_its_digits_in_float32(layer: str, part: str, times: float) -> None:
    params = massive(random_params(BIASED), layer, part, times)
    trace = traced(BIASED, WRITES | WHOLE, params)
    found = layer_effects(trace, 1)
    numbers, vector = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, BIASED), unembedding(params, BIASED)[1]
    bar = 2e-6 * np.linalg.norm(vector * numbers["gamma"][-1]) * BIASED.d_model**0.5  # of the largest logit there is
    least = 1.0
    for b, p in real_positions(trace):
        expected = by_brute_force(numbers, BIASED, vector, 2 * BIASED.n_layers, b, p)
        for field in ("attn_effect", "mlp_effect"):
            np.testing.assert_allclose(getattr(found, field)[:, b, p], expected[field], atol=bar, rtol=2e-6)
        written = every_write(numbers, BIASED, b, p)
        kinds = {"attn": ("head", "attn_bias"), "mlp": ("neuron", "mlp_bias")}[part]
        mine = np.array([kind in kinds and at == int(layer) for kind, at, _ in written.names])
        least = min(least, np.linalg.norm(written.vectors[~mine].sum(0)) / np.linalg.norm(written.vectors.sum(0)))
    assert least < 0.05, "the layer came nowhere near to being the whole stream: this test would test nothing"


@pytest.mark.parametrize("times", [1e3, 3e3])
def test_a_run_shows_these_effects(times: float) -> None:
    model = landed.load()
    mine: Model = dataclasses.replace(model, params=massive(model.params, "1", "mlp", times))
    account = account_for(mine, "The Colosseum is in the city of", position=0)
    trace = mine.trace("The Colosseum is in the city of", at=0)
    expected = jnp.stack([jnp.stack([group(trace, layer, part) for part in ("attn", "mlp")]) for layer in range(4)])
    np.testing.assert_allclose(account.layer_effects, expected, atol=1e-4)


def group(trace: landed.Trace, layer: int, part: str) -> jax.Array:
    weights = landed.attribution.layer_group(trace.config, layer, part)  # pyright: ignore[reportArgumentType] # a str
    return landed.attribution.group_effect(trace, group=weights).effect[0, 0]


def test_under_vmap_each_question_has_its_own_effects() -> None:
    trace = traced(SMALL)
    many: LayerEffects = jax.jit(jax.vmap(lambda token: layer_effects(trace, token)))(jnp.arange(3))
    one = layer_effects(trace, 2)
    np.testing.assert_allclose(many.mlp_effect[2], one.mlp_effect, atol=1e-6)
    shares = landed.attribute(trace, 2, effects=False).landed
    np.testing.assert_allclose(one.attn_landed, shares.attn, atol=1e-6)
    np.testing.assert_allclose(one.mlp_landed, shares.mlp, atol=1e-6)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(LandedError, match="bind"):
        layer_effects(dataclasses.replace(traced(SMALL), params=None), 1)
