"""States of Flax's own NNX, in every form that Flax and checkpoints give them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from landed_jax.checkpoints.trainers.reading import params_from
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from tests.checkpoints import assert_same
from tests.models import random_params
from tests.trainers.nnx_models import Transformer
from tests.trainers.states import CASES, nested, state_of

IDS = jnp.array([[3, 16, 0, 7, 11]])
QWEN3, GEMMA = CASES["bonsai qwen3"].config, CASES["flax gemma"].config

FORMS: dict[str, Callable[[Transformer], Any]] = {
    "state": lambda model: nnx.state(model, nnx.Param),
    "split": lambda model: nnx.split(model, nnx.Param, ...)[1],
    "pure": lambda model: nnx.to_pure_dict(nnx.state(model, nnx.Param)),
    "flat": lambda model: dict(nnx.to_flat_state(nnx.state(model, nnx.Param))),
    "joined": lambda model: {
        ".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))
    },
    "restored": lambda model: {
        "params": {
            (*map(str, path), "value"): leaf[...] for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))
        }
    },
    "numpy": lambda model: jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Param))),
}


@pytest.fixture(scope="module", params=[QWEN3, GEMMA], ids=["qwen3", "gemma"])
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return request.param


@pytest.fixture(scope="module")
def model(config: ModelConfig) -> Transformer:
    return Transformer(config, nnx.Rngs(0))


@pytest.mark.parametrize("form", FORMS)
def test_the_logits_are_the_modules_own(config: ModelConfig, model: Transformer, form: str) -> None:
    read = Model.from_params(config, FORMS[form](model))
    logits, _ = forward(read.params, IDS, config, record=())
    theirs = model(IDS)
    np.testing.assert_allclose(logits, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


def test_a_state_with_more_than_parameters_is_refused(config: ModelConfig, model: Transformer) -> None:
    with pytest.raises(LandedError, match=r"layers/0/attn/dropout/rngs/count .* is left over") as refused:
        Model.from_params(config, nnx.state(model))
    assert len(refused.value.problems) == 2 * config.n_layers


def test_a_module_is_no_state(config: ModelConfig, model: Transformer) -> None:
    with pytest.raises(LandedError, match=r"they are 'Transformer', not an array: pass nnx.state\(model, nnx.Param\)"):
        Model.from_params(config, model)


def test_a_step_of_training_in_which_it_is_read(config: ModelConfig) -> None:
    """A loop that asks after each step, without another compilation and without leaving the device."""
    graph, state, rest = nnx.split(Transformer(config, nnx.Rngs(1)), nnx.Param, ...)

    @jax.jit
    def step(state: Any) -> tuple[Any, jax.Array]:
        gradient = jax.grad(lambda state: (nnx.merge(graph, state, rest)(IDS) ** 2).sum())(state)
        state = jax.tree.map(lambda x, slope: x - 1e-3 * slope, state, gradient)
        return state, forward(Model.from_params(config, state).params, IDS, config, record=())[0]

    state, logits = step(state)
    theirs = nnx.merge(graph, state, rest)(IDS)
    np.testing.assert_allclose(logits, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


def test_linens_boxes_and_maxtexts_wrappers() -> None:
    case = CASES["maxtext scanned"]
    plain = state_of("maxtext scanned", random_params(case.config))
    boxed = nested(
        {name: linen.LogicallyPartitioned(jnp.asarray(leaf), (None,) * leaf.ndim) for name, leaf in plain.items()}
    )
    expected, _ = params_from(case.config, plain)
    for tree in (boxed, {"params": boxed}, {"params": {"params": boxed}}, {"base": boxed}):
        assert_same(params_from(case.config, tree)[0], expected)


def test_maxtexts_list_of_layers() -> None:
    case = CASES["maxtext"]
    state = state_of("maxtext", random_params(case.config))
    expected, _ = params_from(case.config, state)
    read, source = params_from(case.config, {name.replace("layers_", "layers/"): leaf for name, leaf in state.items()})
    assert source.name == "MaxText (Llama, Mistral or Qwen, a list of layers)"
    assert_same(read, expected)
