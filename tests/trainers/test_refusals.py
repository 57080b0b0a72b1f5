"""Trees that are refused: in one error with everything that is wrong, and nothing guessed."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landed_jax.checkpoints.trainers.reading import SOURCES, params_from
from landed_jax.errors import LandedError, Refusal
from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.parameters import LEAVES
from tests.models import random_params
from tests.trainers.states import CASES, GEMMA, GEMMA_MHA, LLAMA, LLAMA_3_1, QWEN2, QWEN3, state_of

State = dict[str, Any]


def refusal(state: Any, config: ModelConfig = LLAMA) -> str:
    with pytest.raises(LandedError) as refused:
        params_from(config, state)
    return str(refused.value)


@pytest.fixture
def tunix() -> State:
    return state_of("tunix", random_params(LLAMA))


@pytest.mark.parametrize("config", [LLAMA, LLAMA_3_1, QWEN2, QWEN3, GEMMA, GEMMA_MHA])
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_each_line_of_each_table_is_one_leaf_of_ours(source: Any, config: ModelConfig) -> None:
    leaves = [entry.leaf for entry in source.table(config)]
    assert len(set(leaves)) == len(leaves) and set(leaves) <= set(LEAVES)
    for entry in source.entries(config):
        stored = jax.ShapeDtypeStruct(entry.shape(config), jnp.float32)
        ours = jax.eval_shape(lambda x, entry=entry: entry.ours(x, config), stored)
        layers = (3,) if "layers/" in entry.name and "{layer}" not in entry.name else ()
        assert ours.shape == layers + LEAVES[entry.leaf].shape(config)


def test_no_name_is_of_two_kinds_of_tree_in_all_its_leaves() -> None:
    for config in (LLAMA, QWEN2, QWEN3, GEMMA):
        names = [frozenset(source.names(config)) for source in SOURCES]
        assert len(set(names)) == len(names)


def test_everything_wrong_is_in_one_error(tunix: State) -> None:
    del tunix["layers/1/attn/q_proj/w"]
    tunix["layers/3/attn/q_proj/w"] = tunix["layers/0/attn/q_proj/w"]
    tunix["final_norm/w"] = np.ones(13, np.float32)
    tunix["layers/2/mlp/up_proj/kernel"] = np.ones((12, 10), np.int8)
    tunix["layers/0/input_layernorm/w"] = "weights.npy"
    with pytest.raises(Refusal) as refused:
        params_from(LLAMA, tunix)
    assert refused.value.problems == (
        "layers/0/input_layernorm/w is 'str', not an array",
        "final_norm/w has shape [13], not [12]",
        "layers/0/input_layernorm/w [12] is missing",
        "layers/1/attn/q_proj/w [12, 4, 6] is missing",
        "layers/2/mlp/up_proj/kernel is of type int8, not one of float64, float32, float16, bfloat16",
        "layers/3/attn/q_proj/w [12, 4, 6] is left over: this model has no such leaf",
    )
    assert str(refused.value).startswith(
        "These parameters are not those of a model of this config in a tree of tunix (Llama or Qwen): layers/0/"
    )


@pytest.mark.parametrize("name", CASES)
def test_each_leaf_that_is_missing_is_named(name: str) -> None:
    config = CASES[name].config
    state = state_of(name, random_params(config))
    for leaf in state:
        rest = {other: value for other, value in state.items() if other != leaf}
        with pytest.raises(Refusal) as refused:
            params_from(config, rest)
        assert refused.value.problems == (f"{leaf} {list(state[leaf].shape)} is missing",)


@pytest.mark.parametrize("name", CASES)
def test_each_leaf_of_another_shape_is_named(name: str) -> None:
    config = CASES[name].config
    state = state_of(name, random_params(config))
    for leaf, value in state.items():
        with pytest.raises(Refusal) as refused:
            params_from(config, {**state, leaf: np.moveaxis(value, 0, -1)[..., None]})
        assert len(refused.value.problems) == 1 and f"{leaf} has shape" in str(refused.value)


def test_more_layers_than_the_config(tunix: State) -> None:
    said = refusal(tunix, dataclasses.replace(LLAMA, n_layers=2))
    assert "layers/2/attn/q_proj/w [12, 4, 6] is left over" in said


def test_a_tree_of_two_programs(tunix: State) -> None:
    bonsai = state_of("bonsai llama", random_params(LLAMA))
    said = refusal({**tunix, **bonsai})
    assert "Which tree these parameters are of cannot be told" in said
    half = {name: leaf for name, leaf in bonsai.items() if "self_attn" in name}
    assert "layers/0/self_attn/q_proj/kernel [12, 24] is left over" in refusal({**tunix, **half})


def test_scanned_and_unscanned_layers_at_once() -> None:
    params = random_params(LLAMA)
    both = {**state_of("maxtext", params), **state_of("maxtext scanned", params)}
    assert "decoder/layers/mlp/wo/kernel [10, 3, 12] is left over" in refusal(both)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "there is no array in the tree"),
        ({"params": {}}, "there is no array in the tree"),
        (np.ones(3), "of no tree that is known"),
        ({"model": {"embed_tokens": {"weight": np.ones((17, 12))}}}, "it has model/embed_tokens/weight. Known are"),
        ({"layers": [{"mlp": {"gate_proj": {"kernel": np.ones((12, 10))}}}]}, "cannot be told: as many of its names"),
        ({"a": 3}, "a is 'int', not an array"),
        ({"a.b": np.ones(3), "a/b": np.ones(3)}, "of no tree that is known"),
    ],
)
def test_what_is_no_known_tree(tree: Any, said: str) -> None:
    assert said in refusal(tree)


def test_one_name_twice(tunix: State) -> None:
    assert "final_norm/w is there twice" in refusal({**tunix, ("final_norm", "w"): tunix["final_norm/w"]})


def test_float64_without_64_bit_types(tunix: State) -> None:
    tunix["final_norm/w"] = tunix["final_norm/w"].astype(np.float64)
    assert "final_norm/w is float64, which needs JAX's 64-bit types" in refusal(tunix)


def _maxtext(config: ModelConfig, name: str = "maxtext scanned") -> State:
    return state_of(name, random_params(config))


@pytest.mark.parametrize(
    ("state", "config", "said"),
    [
        (
            lambda: state_of("tunix", random_params(LLAMA)),
            dataclasses.replace(LLAMA, tie_embeddings=True),
            "lm_head/w [12, 17] is left over: an unembedding of its own, and the config has tie_embeddings=True",
        ),
        (
            lambda: {k: v for k, v in _maxtext(LLAMA).items() if "logits_dense" not in k},
            dataclasses.replace(LLAMA, tie_embeddings=True),
            "normalize_embedding_logits",
        ),
        (
            lambda: _maxtext(LLAMA),
            dataclasses.replace(LLAMA, rope=RopeConfig("yarn", factor=2.0, original_max_positions=9)),
            "rope_interleave",
        ),
        (
            lambda: _maxtext(LLAMA),
            dataclasses.replace(LLAMA, rope=RopeConfig("dynamic", factor=2.0)),
            "no dynamic rotary",
        ),
        (
            lambda: _maxtext(LLAMA_3_1),
            dataclasses.replace(LLAMA_3_1, rope=dataclasses.replace(LLAMA_3_1.rope, factor=32.0)),
            "llama3 rotary scaling is (8.0, 1.0, 4.0, 8192) alone, and this config's is (32.0",
        ),
        (
            lambda: state_of("maxtext gemma", random_params(GEMMA)),
            dataclasses.replace(GEMMA, embedding_scale=2.0),
            "the embedding is scaled by 3.4641 there, and by embedding_scale = 2 here",
        ),
        (
            lambda: state_of("flax gemma", random_params(GEMMA)),
            dataclasses.replace(GEMMA, embedding_scale=1.0),
            "the embedding is scaled by 3.4641 there, and by embedding_scale = 1 here",
        ),
        (
            lambda: state_of("tunix", random_params(LLAMA)),
            dataclasses.replace(LLAMA, output_bias=True),
            "this config has attn/b_O, which no tree of tunix (Llama or Qwen) has",
        ),
        (
            lambda: state_of("bonsai llama", random_params(LLAMA)),
            dataclasses.replace(LLAMA, qk_norm="head"),
            "this config has attn/q_gamma, which no tree of bonsai (Llama 3.2) has",
        ),
    ],
)
def test_what_a_tree_does_not_tell(state: Callable[[], State], config: ModelConfig, said: str) -> None:
    assert said in refusal(state(), config)


def test_a_llama_of_maxtext_is_no_gemma() -> None:
    said = refusal(_maxtext(LLAMA), GEMMA)
    assert "the embedding is scaled by 1 there" in said and "decoder/logits_dense/kernel [12, 17] is left over" in said
