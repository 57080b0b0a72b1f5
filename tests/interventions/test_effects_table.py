"""Total effects against a NumPy model without the component; direct and indirect ones; what is given back."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.interventions import Effects, effects_table, freeze_sigma, intervene
from landed_jax.interventions._stacks import every_head
from landed_jax.interventions._sweep import run_sweep
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import SCALES
from tests.models import CONFIGS, SMALL, each_config, random_params, random_tokens
from tests.reference.numpy_model import numpy_forward

QUESTION = landed.Logit(3, against=4)


def difference(out: dict[str, np.ndarray]) -> np.ndarray:
    return (out["uncapped"][..., 3] - out["uncapped"][..., 4])[:, -1:]


def same(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def made(config: ModelConfig, components: Any = "heads") -> tuple[landed.Model, Any, Effects]:
    model, tokens = landed.Model(config, random_params(config, dtype=np.float64)), random_tokens(config)
    return model, tokens, effects_table(model, tokens, QUESTION, components=components)


@pytest.mark.quick
@each_config
def test_totals_are_those_of_a_model_without_the_component(config: ModelConfig, x64: None) -> None:
    model, tokens, heads = made(config)
    clean = difference(numpy_forward(model.params, tokens.ids, tokens.mask, config))
    same(heads.value, clean)
    for layer, head in np.ndindex(config.n_layers, config.n_heads):
        without = numpy_forward(model.params, tokens.ids, tokens.mask, config, {"head": (layer, head)})
        same(heads.total[layer, head], clean - difference(without))
    if config.n_experts:
        return
    chosen = [(0, 2), (config.n_layers - 1, 5)]
    neurons = effects_table(model, tokens, QUESTION, components=chosen)
    for place, neuron in enumerate(chosen):
        without = numpy_forward(model.params, tokens.ids, tokens.mask, config, {"neuron": neuron})
        same(neurons.total[place], clean - difference(without))
    # Nothing stands behind the last layer's neurons.
    same(neurons.indirect[-1], 0)
    same(neurons.indirect_frozen[-1], 0)
    if not config.output_norms:  # with one, the others of the block are heard louder: σ′ is of what is left
        same(neurons.self_repair[-1], 0)


@pytest.mark.parametrize("components", ["heads", "parts", [(0, 3), (1, 2)]], ids=["heads", "parts", "neurons"])
@each_config
def test_the_columns_sum(config: ModelConfig, components: Any, x64: None) -> None:
    if not isinstance(components, str):
        components = [(layer % config.n_layers, index) for layer, index in components]
    model, tokens, found = made(config, components)
    same(found.direct + found.indirect, found.total)
    same(found.direct_frozen + found.indirect_frozen, found.total_frozen)
    shares = landed.attribute(model.trace(tokens, at=-1), QUESTION)
    if components == "heads":
        assert shares.direct_effect is not None
        same(found.direct, np.moveaxis(np.asarray(shares.direct_effect.heads), -1, 1))
    dataset = found.to_xarray(derived=True)
    assert dataset.self_repair.dims[-2:] == ("batch", "position")
    assert dataset.given_back.dims[-4:] == ("reader", "part", "batch", "position")
    same(dataset.given_back.sum(["reader", "part"]).transpose(*dataset.self_repair.dims), dataset.self_repair)


@pytest.mark.parametrize("config", [SMALL, CONFIGS["both_norms"], CONFIGS["scaled"]], ids=["small", "both", "scaled"])
def test_with_frozen_norms_the_indirect_effect_is_what_later_writes_say(config: ModelConfig, x64: None) -> None:
    """Linear reads at the end: the total effect is the component's own write and the change of all later ones."""
    model, tokens, found = made(config)
    frozen = freeze_sigma(model.trace(tokens, record=SCALES))
    swept = run_sweep(model, tokens, every_head(config), QUESTION, -1, frozen, None, None, None, watch=True)
    assert swept.watched is not None
    same(-jnp.sum(swept.watched, axis=(2, 3)), found.total_frozen)


def test_neurons_of_experts(x64: None) -> None:
    """Total effects are those of a model without the column of W_down; direct ones are there where it was chosen."""
    config, place = CONFIGS["experts"], (1, 2, 3)
    model, tokens = landed.Model(config, random_params(config, dtype=np.float64)), random_tokens(config)
    found = effects_table(model, tokens, QUESTION, components=[place])
    clean = difference(numpy_forward(model.params, tokens.ids, tokens.mask, config))
    leaf = np.array(model.params["layers"]["1"]["experts"]["W_down"])
    leaf[2, :, 3] = 0
    model.params["layers"]["1"]["experts"]["W_down"] = leaf
    same(found.total[0], clean - difference(numpy_forward(model.params, tokens.ids, tokens.mask, config)))
    same(found.indirect[0], 0)


def test_what_is_given_back_is_of_later_layers_alone(x64: None) -> None:
    _, _, found = made(SMALL)
    for layer in range(SMALL.n_layers):
        same(found.given_back[layer, :, :layer], 0)
        same(found.given_back[layer, :, layer, 0], 0)  # no head hears another of its layer


def test_with_all_later_writes_held_the_effect_is_the_landed_contribution(x64: None) -> None:
    model, tokens, found = made(SMALL)
    whole = landed.HookPoint.ATTN_WRITE, landed.HookPoint.MLP_WRITE
    clean = model.trace(tokens, record=SCALES | {*whole})
    held = [freeze_sigma(clean), intervene("mlp_write", "replace", clean[whole[1]])]
    held.append(intervene("attn_write", "replace", clean[whole[0]][1], layers=1))
    swept = run_sweep(model, tokens, every_head(SMALL), QUESTION, -1, held, None, None, None, watch=True)
    same(swept.effect[0], found.direct_frozen[0])
    same(swept.effect[1], 0)
