"""Parameters of training programs: ours, moved and rid of what the programs fold into them; and their numbers."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from landed_jax.checkpoints.trainers.reading import params_from
from landed_jax.forward_pass import forward
from landed_jax.model import Model
from landed_jax.nn.parameters import stack_layers
from tests.checkpoints import CONFIG, assert_same, hf_config
from tests.models import random_params
from tests.reference.numpy_model import numpy_forward
from tests.trainers.arithmetic import logits_of
from tests.trainers.states import CASES, GEMMA, LLAMA, MOVED, nested, state_of

IDS = np.array([3, 16, 0, 7, 11])
BATCH = jnp.asarray(IDS[None])
every_case = pytest.mark.parametrize("name", CASES)


@pytest.mark.quick
@every_case
def test_the_logits_are_the_programs_own(name: str, x64: None) -> None:
    case = CASES[name]
    params = random_params(case.config, dtype=jnp.float64)
    state = state_of(name, params)
    theirs = logits_of(name, state, IDS)
    ours = numpy_forward(params, IDS[None], None, case.config)["logits"][0]
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-12 * np.abs(ours).max())
    model = Model.from_params(case.config, nested(state))
    logits, _ = forward(model.params, BATCH, model.config, record=())
    np.testing.assert_allclose(logits[0], theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
    assert model.notes == (f"the parameters were given as a tree of {case.kind}",)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("name", MOVED)
def test_values_that_only_lie_elsewhere_are_the_same_bits(name: str, dtype: Any) -> None:
    case = CASES[name]
    params = random_params(case.config, dtype=dtype)
    read, _ = params_from(case.config, nested(state_of(name, params)))
    assert_same(read, stack_layers(params) if case.scanned else params)


@pytest.mark.parametrize("stacked", [False, True])
def test_our_own_tree_is_given_back(stacked: bool) -> None:
    params = random_params(LLAMA)
    params = stack_layers(params) if stacked else params
    read, _ = params_from(LLAMA, params)
    assert all(a is b for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(params), strict=True))


def test_what_is_folded_in_is_taken_out_without_a_loss() -> None:
    """bfloat16 would round γ - 1 and a product with √6, so these leaves are float32; 16 = √256 it would not."""
    state = state_of("maxtext gemma", random_params(GEMMA, dtype=jnp.bfloat16))
    params, _ = params_from(GEMMA, state)
    assert {str(path[-1].key): str(leaf.dtype) for path, leaf in jax.tree.leaves_with_path(params)} == {
        "W_E": "float32",
        "gamma": "float32",
        "W_Q": "float32",
        **dict.fromkeys(["W_K", "W_V", "W_O", "W_gate", "W_up", "W_down"], "bfloat16"),
    }
    stored = state["decoder/layers/pre_ffw_norm/scale"].astype(np.float32)
    np.testing.assert_array_equal(1 + params["layers"]["mlp_norm"]["gamma"], stored.T)
    wide = dataclasses.replace(LLAMA, head_dim=256, n_heads=1, n_kv_heads=1)
    flat = {
        name: np.ones([256 if size == 6 else 1 if size in (4, 2) else size for size in leaf.shape], leaf.dtype)
        for name, leaf in state_of("maxtext", random_params(LLAMA, dtype=jnp.bfloat16)).items()
    }
    (query, *_), _ = params_from(wide, flat)[0]["layers"]["0"]["attn"]["W_Q"], None
    assert query.dtype == jnp.bfloat16 and query[0, 0] == 16


def test_under_jit() -> None:
    case = CASES["maxtext scanned"]
    state = nested(state_of("maxtext scanned", random_params(case.config)))

    @jax.jit
    def logits(state: Any) -> jax.Array:
        return forward(Model.from_params(case.config, state).params, BATCH, case.config, record=())[0]

    outside, _ = forward(Model.from_params(case.config, state).params, BATCH, case.config, record=())
    np.testing.assert_allclose(logits(state), outside, rtol=0, atol=2e-6 * np.abs(outside).max())
    gradient = jax.grad(lambda state: logits(state).sum())(jax.tree.map(jnp.asarray, state))
    assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(np.shape, state)


# By what their paths contain, the axes of leaves that are cut over the mesh: heads, neurons, the vocabulary.
CUTS = {
    "maxtext scanned": {"query/kernel": 2, "key/kernel": 2, "out/kernel": 0, "wi_": 2, "wo/": 0},
    "maxtext 3.1": {"query/kernel": 2, "out/kernel": 0, "wi_": 2},
    "bonsai llama": {"q_proj": 1, "k_proj": 1, "o_proj": 0, "gate_proj": 1},
    "tunix gemma mha": {"qkv_einsum": 1, "attn_vec_einsum": 0, "gate_proj": 1},
}


@pytest.mark.parametrize("axes", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("name", CUTS)
def test_shardings_stay(name: str, axes: AxisType) -> None:
    case = CASES[name]
    state = state_of(name, random_params(case.config))
    mesh = Mesh(np.array(jax.devices()[:2]), ("model",), axis_types=(axes,))

    def placed(path: str, value: np.ndarray) -> jax.Array:
        cut = next((axis for part, axis in CUTS[name].items() if part in path), None)
        spec = ["model" if axis == cut else None for axis in range(value.ndim)]
        return jax.device_put(value, NamedSharding(mesh, PartitionSpec(*spec)))

    model = Model.from_params(case.config, {path: placed(path, value) for path, value in state.items()})
    layer = model.params["layers"] if case.scanned else model.params["layers"]["0"]
    before = 1 if case.scanned else 0
    for leaf, axis in ((layer["attn"]["W_Q"], 0), (layer["attn"]["W_O"], 1), (layer["mlp"]["W_gate"], 0)):
        assert leaf.sharding.shard_shape(leaf.shape)[before + axis] == leaf.shape[before + axis] // 2
    whole = Model.from_params(case.config, state)
    np.testing.assert_allclose(model.trace(BATCH).logits, whole.trace(BATCH).logits, rtol=0, atol=1e-5)


def test_a_config_in_other_forms(tmp_path: Path) -> None:
    params = random_params(CONFIG)
    fields = hf_config(CONFIG)
    (tmp_path / "config.json").write_text(json.dumps(fields))
    for config in (fields, tmp_path, str(tmp_path)):
        model = Model.from_params(config, params)
        assert model.config == CONFIG and model.vocabulary is None
    assert "There are no tokenizer files" in model.no_vocabulary and model.source == str(tmp_path)


def test_text_with_a_tokenizer_from_elsewhere() -> None:
    from landed_jax.loading import load

    bundled = load()
    for model in (
        Model.from_params("bundled", bundled.params),
        Model.from_params(bundled.config, bundled.params, tokenizer="bundled"),
    ):
        logits = model.trace("The Colosseum is in the city of", at=-1).logits
        assert model.vocabulary.text(logits[0, -1].argmax()) == " Rome"
