"""The weight table: the checkpoint tensor of each leaf, and the axes of the leaf that the tensor merges.

The only transform is a reshape that splits off the head axis, so the weights equal the checkpoint's bit for bit.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from landed_jax.families import families
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LEAVES, Leaf, Params, Path, axis_sizes, is_stacked, leaf_places

Index = tuple[slice, ...]


@dataclass(frozen=True)
class Entry:
    """One line of the table: the tensor's name, the leaf's path, and the leaf's axes as the tensor merges them."""

    name: str
    leaf: str
    merged: tuple[tuple[str, ...], ...]

    def shape(self, config: ModelConfig) -> tuple[int, ...]:
        """The tensor's shape in the checkpoint."""
        sizes = axis_sizes(config)
        return tuple(math.prod(sizes[axis] for axis in axes) for axes in self.merged)

    def index(self, config: ModelConfig, index: Index) -> Index:
        """A slice of the leaf as a slice of the tensor. Of merged axes only the first may be sliced."""
        sizes = axis_sizes(config)
        cuts = iter(zip(LEAVES[self.leaf].axes, index, strict=True))
        merged = []
        for axes in self.merged:
            (first, *rest) = (next(cuts) for _ in axes)
            inner = math.prod(sizes[axis] for axis, _ in rest)
            if any(cut.indices(sizes[axis]) != (0, sizes[axis], 1) for axis, cut in rest):
                # This would not be one slice of the tensor. The sharding table has no such cut.
                raise ValueError(f"{self.name} cannot be cut along {[axis for axis, _ in rest]}")
            start, stop, _ = first[1].indices(sizes[first[0]])
            merged.append(slice(start * inner, stop * inner))
        return tuple(merged)


_D, _F, _V = ("d_model",), ("d_ff",), ("vocab",)
_H, _KV = ("head", "head_dim"), ("kv_head", "head_dim")
_LAYER = "model.layers.{layer}."

TABLE = (
    Entry("model.embed_tokens.weight", "embed/W_E", (_V, _D)),
    Entry("model.norm.weight", "final_norm/gamma", (_D,)),
    Entry("lm_head.weight", "unembed/W_U", (_V, _D)),
    Entry(_LAYER + "input_layernorm.weight", "attn_norm/gamma", (_D,)),
    Entry(_LAYER + "self_attn.q_proj.weight", "attn/W_Q", (_H, _D)),
    Entry(_LAYER + "self_attn.k_proj.weight", "attn/W_K", (_KV, _D)),
    Entry(_LAYER + "self_attn.v_proj.weight", "attn/W_V", (_KV, _D)),
    Entry(_LAYER + "self_attn.o_proj.weight", "attn/W_O", (_D, _H)),
    Entry(_LAYER + "self_attn.q_proj.bias", "attn/b_Q", (_H,)),
    Entry(_LAYER + "self_attn.k_proj.bias", "attn/b_K", (_KV,)),
    Entry(_LAYER + "self_attn.v_proj.bias", "attn/b_V", (_KV,)),
    Entry(_LAYER + "self_attn.o_proj.bias", "attn/b_O", (_D,)),
    Entry(_LAYER + "self_attn.q_norm.weight", "attn/q_gamma", (("head_dim",),)),
    Entry(_LAYER + "self_attn.k_norm.weight", "attn/k_gamma", (("head_dim",),)),
    Entry(_LAYER + "self_attn.q_norm.weight", "attn/q_width_gamma", (_H,)),
    Entry(_LAYER + "self_attn.k_norm.weight", "attn/k_width_gamma", (_KV,)),
    Entry(_LAYER + "post_attention_layernorm.weight", "attn_out_norm/gamma", (_D,)),
    Entry(_LAYER + "post_attention_layernorm.weight", "mlp_norm/gamma", (_D,)),
    Entry(_LAYER + "mlp.gate_proj.weight", "mlp/W_gate", (_F, _D)),
    Entry(_LAYER + "mlp.up_proj.weight", "mlp/W_up", (_F, _D)),
    Entry(_LAYER + "mlp.down_proj.weight", "mlp/W_down", (_D, _F)),
    Entry(_LAYER + "mlp.gate_proj.bias", "mlp/b_gate", (_F,)),
    Entry(_LAYER + "mlp.up_proj.bias", "mlp/b_up", (_F,)),
    Entry(_LAYER + "mlp.down_proj.bias", "mlp/b_down", (_D,)),
    Entry(_LAYER + "post_feedforward_layernorm.weight", "mlp_out_norm/gamma", (_D,)),
)

EMBEDDING = "model.embed_tokens.weight"
UNEMBEDDING = "lm_head.weight"


@dataclass(frozen=True)
class Place:
    """One tensor of one model: its name in the checkpoint, its leaf, and the leaf's full path in the tree."""

    name: str
    path: Path
    leaf: Leaf
    entry: Entry


@functools.cache
def entries(family: str) -> dict[str, Entry]:
    """Each leaf's line of the table, under a family's names."""
    known = families().get(family)
    own = known.names if known else {}
    return {entry.leaf: dataclasses.replace(entry, name=own.get(entry.leaf, entry.name)) for entry in TABLE}


def tensor_places(config: ModelConfig) -> Iterator[Place]:
    """Every tensor of a checkpoint of this model, each once.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> place = list(tensor_places(config))[-1]
    >>> place.name, place.path, place.entry.shape(config)
    ('model.layers.1.mlp.down_proj.weight', ('layers', '1', 'mlp', 'W_down'), (8, 12))
    """
    by_leaf = entries(config.family)
    for path, leaf in leaf_places(config):
        entry = by_leaf[leaf.path]
        layer = path[1] if path[0] == "layers" else None
        yield Place(entry.name.format(layer=layer), path, leaf, entry)


def to_hf(params: Params, config: ModelConfig) -> dict[str, np.ndarray]:
    """The inverse: the checkpoint's tensors, by name and in its shapes, from parameters in either layout."""
    stacked = is_stacked(params)
    tensors = {}
    for place in tensor_places(config):
        in_layer = place.path[0] == "layers"
        node: Any = params
        for part in (place.path[0], *place.path[2:]) if stacked and in_layer else place.path:
            node = node[part]
        value = np.asarray(node[int(place.path[1])] if stacked and in_layer else node)
        tensors[place.name] = value.reshape(place.entry.shape(config))
    return tensors
