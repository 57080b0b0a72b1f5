"""The weight table: complete, and bit-exact in both directions."""

import jax
import numpy as np
import pytest

from landed_jax.checkpoints.hf.table import TABLE, tensor_places, to_hf
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LEAVES, init_params, leaf_places, stack_layers
from tests.needs import NO_TORCH

SIZES = dict(vocab_size=24, d_model=16, n_layers=3, n_heads=4, n_kv_heads=2, head_dim=6, d_ff=20)
CONFIGS = [
    ModelConfig(**SIZES),
    ModelConfig(**SIZES, tie_embeddings=True),
    ModelConfig(**SIZES, qkv_bias=True, output_bias=True, mlp_bias=True),
]


@pytest.mark.quick
def test_each_leaf_has_one_entry_with_its_own_axes():
    assert sorted(entry.leaf for entry in TABLE) == sorted(LEAVES)
    named = [entry.name for entry in TABLE if entry.name]
    assert len(set(named)) == len(named)
    for entry in TABLE:
        axes = LEAVES[entry.leaf].axes
        assert tuple(axis for axes in entry.merged for axis in axes) == axes[1 if entry.by_expert else 0 :]


@pytest.mark.parametrize("config", CONFIGS, ids=["plain", "tied", "biases"])
def test_names_and_shapes_are_the_references(config):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, head_dim=6, attention_bias=config.qkv_bias, mlp_bias=config.mlp_bias,
                tie_word_embeddings=config.tie_embeddings,
            )
        )  # fmt: skip
    reference = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert {place.name: place.entry.shape(config) for place in tensor_places(config)} == reference


@pytest.mark.quick
@pytest.mark.parametrize("config", CONFIGS, ids=["plain", "tied", "biases"])
def test_the_inverse_gives_every_value_back(config):
    params = init_params(config, jax.random.key(0))
    tensors = to_hf(params, config)
    places = {place.path: place for place in tensor_places(config)}
    assert len(tensors) == len(places) == len(list(leaf_places(config)))
    for path, place in places.items():
        node = params
        for part in path:
            node = node[part]
        np.testing.assert_array_equal(tensors[place.name].reshape(place.leaf.shape(config)), node)
    stacked = to_hf(stack_layers(params), config)
    assert all(np.array_equal(stacked[name], tensor) for name, tensor in tensors.items())


def test_slices_of_leaves_are_slices_of_tensors():
    config = CONFIGS[0]
    everything = slice(None)
    entries = {entry.leaf: entry for entry in TABLE}
    assert entries["attn/W_Q"].index(config, (slice(1, 3), everything, everything)) == (slice(6, 18), slice(0, 16))
    assert entries["attn/W_O"].index(config, (everything, slice(2, 4), everything)) == (slice(0, 16), slice(12, 24))
    with pytest.raises(ValueError, match="cannot be cut"):
        entries["attn/W_Q"].index(config, (everything, slice(0, 3), everything))
