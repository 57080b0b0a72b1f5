"""The parameters' tree: one table gives each leaf's name, axes and initialisation.

Modules, checkpoints, sharding and counting all read this table. Leaves keep the checkpoint's own layout (output
axis first), only with the head axis split out, which is a view.

The layers are held in one of two ways, which no caller needs to know: one subtree a layer (``layers/0``, …), or one
subtree whose leaves carry a leading layer axis.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.unembedding import Unembedding
from landed_jax.nn.weights_on_disk import in_memory
from landed_jax.numerics import layer_of

Params = dict[str, Any]
Present = Callable[[ModelConfig], bool]
Path = tuple[str, ...]
Kinds = dict[Path, np.dtype]
"""The float type of each leaf."""


def _always(_: ModelConfig) -> bool:
    return True


@dataclass(frozen=True)
class Leaf:
    """One parameter: where it is in the tree, the names of its axes, how it starts, which models have it."""

    path: str
    axes: tuple[str, ...]
    init: Literal["normal", "ones", "zeros"] = "normal"
    present: Present = _always

    def shape(self, config: ModelConfig) -> tuple[int, ...]:
        sizes = axis_sizes(config)
        return tuple(sizes[axis] for axis in self.axes)


def axis_sizes(config: ModelConfig) -> dict[str, int]:
    return {
        "vocab": config.vocab_size,
        "d_model": config.d_model,
        "head": config.n_heads,
        "kv_head": config.n_kv_heads,
        "head_dim": config.head_dim,
        "d_ff": config.d_ff,
        "expert": config.n_experts,
        "max_position": config.max_positions,
    }


def _has_layer_norms(config: ModelConfig) -> bool:
    return config.norm == "layer"


def _has_learned_positions(config: ModelConfig) -> bool:
    return config.learned_positions


def _has_sinks(config: ModelConfig) -> bool:
    return config.sinks


def _has_router_bias(config: ModelConfig) -> bool:
    return config.router_bias


def _is_gated(config: ModelConfig) -> bool:
    return config.gated_mlp


def _is_ungated(config: ModelConfig) -> bool:
    return not config.gated_mlp


def has_experts(config: ModelConfig) -> bool:
    """Whether a layer has several MLPs, of which a position uses a few."""
    return config.n_experts > 0


def _has_qkv_bias(config: ModelConfig) -> bool:
    return config.qkv_bias


def _has_output_bias(config: ModelConfig) -> bool:
    return config.output_bias


def _has_head_norm(config: ModelConfig) -> bool:
    return config.qk_norm == "head"


def _has_width_norm(config: ModelConfig) -> bool:
    return config.qk_norm == "width"


def _has_input_norms(config: ModelConfig) -> bool:
    return config.input_norms


def _has_output_norms(config: ModelConfig) -> bool:
    return config.output_norms


def _has_mlp_bias(config: ModelConfig) -> bool:
    return config.mlp_bias


def _has_gate_biases(config: ModelConfig) -> bool:
    return config.mlp_bias and config.gated_mlp


def _has_input_bias(config: ModelConfig) -> bool:
    return config.mlp_bias and not config.gated_mlp


def _dense_and(present: Present) -> Present:
    return lambda config: not has_experts(config) and present(config)


def _experts_and(present: Present) -> Present:
    return lambda config: has_experts(config) and present(config)


# Leaves that a model has together have one function.
_dense, _dense_gated, _dense_ungated = map(_dense_and, (_always, _is_gated, _is_ungated))
_experts_gated, _experts_ungated = map(_experts_and, (_is_gated, _is_ungated))
_dense_biases, _dense_gate_biases, _dense_input_bias = map(
    _dense_and, (_has_mlp_bias, _has_gate_biases, _has_input_bias)
)
_experts_biases, _experts_gate_biases, _experts_input_bias = map(
    _experts_and, (_has_mlp_bias, _has_gate_biases, _has_input_bias)
)


def _is_untied(config: ModelConfig) -> bool:
    return not config.tie_embeddings


TOP_LEAVES = (
    Leaf("embed/W_E", ("vocab", "d_model")),
    Leaf("embed/W_pos", ("max_position", "d_model"), present=_has_learned_positions),
    Leaf("final_norm/gamma", ("d_model",), "ones"),
    Leaf("final_norm/beta", ("d_model",), "zeros", _has_layer_norms),
    Leaf("unembed/W_U", ("vocab", "d_model"), present=_is_untied),
)
LAYER_LEAVES = (
    Leaf("attn_norm/gamma", ("d_model",), "ones", _has_input_norms),
    Leaf("attn_norm/beta", ("d_model",), "zeros", _has_layer_norms),
    Leaf("attn/W_Q", ("head", "head_dim", "d_model")),
    Leaf("attn/W_K", ("kv_head", "head_dim", "d_model")),
    Leaf("attn/W_V", ("kv_head", "head_dim", "d_model")),
    Leaf("attn/W_O", ("d_model", "head", "head_dim")),
    Leaf("attn/b_Q", ("head", "head_dim"), "zeros", _has_qkv_bias),
    Leaf("attn/b_K", ("kv_head", "head_dim"), "zeros", _has_qkv_bias),
    Leaf("attn/b_V", ("kv_head", "head_dim"), "zeros", _has_qkv_bias),
    Leaf("attn/b_O", ("d_model",), "zeros", _has_output_bias),
    Leaf("attn/sinks", ("head",), present=_has_sinks),
    Leaf("attn/q_gamma", ("head_dim",), "ones", _has_head_norm),
    Leaf("attn/k_gamma", ("head_dim",), "ones", _has_head_norm),
    Leaf("attn/q_width_gamma", ("head", "head_dim"), "ones", _has_width_norm),
    Leaf("attn/k_width_gamma", ("kv_head", "head_dim"), "ones", _has_width_norm),
    Leaf("attn_out_norm/gamma", ("d_model",), "ones", _has_output_norms),
    Leaf("mlp_norm/gamma", ("d_model",), "ones", _has_input_norms),
    Leaf("mlp_norm/beta", ("d_model",), "zeros", _has_layer_norms),
    Leaf("mlp/W_gate", ("d_ff", "d_model"), present=_dense_gated),
    Leaf("mlp/W_up", ("d_ff", "d_model"), present=_dense_gated),
    Leaf("mlp/W_in", ("d_ff", "d_model"), present=_dense_ungated),
    Leaf("mlp/W_down", ("d_model", "d_ff"), present=_dense),
    Leaf("mlp/b_gate", ("d_ff",), "zeros", _dense_gate_biases),
    Leaf("mlp/b_up", ("d_ff",), "zeros", _dense_gate_biases),
    Leaf("mlp/b_in", ("d_ff",), "zeros", _dense_input_bias),
    Leaf("mlp/b_down", ("d_model",), "zeros", _dense_biases),
    Leaf("experts/W_router", ("expert", "d_model"), present=has_experts),
    Leaf("experts/b_router", ("expert",), "zeros", _has_router_bias),
    Leaf("experts/W_gate", ("expert", "d_ff", "d_model"), present=_experts_gated),
    Leaf("experts/W_up", ("expert", "d_ff", "d_model"), present=_experts_gated),
    Leaf("experts/W_in", ("expert", "d_ff", "d_model"), present=_experts_ungated),
    Leaf("experts/W_down", ("expert", "d_model", "d_ff"), present=has_experts),
    Leaf("experts/b_gate", ("expert", "d_ff"), "zeros", _experts_gate_biases),
    Leaf("experts/b_up", ("expert", "d_ff"), "zeros", _experts_gate_biases),
    Leaf("experts/b_in", ("expert", "d_ff"), "zeros", _experts_input_bias),
    Leaf("experts/b_down", ("expert", "d_model"), "zeros", _experts_biases),
    Leaf("mlp_out_norm/gamma", ("d_model",), "ones", _has_output_norms),
)
LEAVES = {leaf.path: leaf for leaf in TOP_LEAVES + LAYER_LEAVES}


def leaf_places(config: ModelConfig) -> Iterator[tuple[Path, Leaf]]:
    """Every leaf of the unstacked tree of this model, with its full path."""
    for leaf in TOP_LEAVES:
        if leaf.present(config):
            yield tuple(leaf.path.split("/")), leaf
    for layer in range(config.n_layers):
        for leaf in LAYER_LEAVES:
            if leaf.present(config):
                yield ("layers", str(layer), *leaf.path.split("/")), leaf


def build_tree(leaves: Iterator[tuple[Path, Any]]) -> Params:
    """A nested dictionary from full paths."""
    tree: Params = {}
    for path, value in leaves:
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    return tree


def count_parameters(config: ModelConfig) -> int:
    """How many numbers the model holds (a tied unembedding counts once).

    >>> count_parameters(ModelConfig(vocab_size=512, d_model=64, n_layers=5, n_heads=8, n_kv_heads=4, head_dim=8,
    ...                              d_ff=172, tie_embeddings=True))
    260032
    """
    counts = ((TOP_LEAVES, 1), (LAYER_LEAVES, config.n_layers))
    return sum(
        times * math.prod(leaf.shape(config)) for leaves, times in counts for leaf in leaves if leaf.present(config)
    )


def abstract_params(config: ModelConfig, dtype: Any = jnp.float32, stacked: bool = False) -> Params:
    """The tree of shapes, in either layout."""
    if not stacked:
        return build_tree((path, jax.ShapeDtypeStruct(leaf.shape(config), dtype)) for path, leaf in leaf_places(config))

    def shapes(leaves: tuple[Leaf, ...], *stack: int) -> Params:
        there = ((tuple(leaf.path.split("/")), leaf) for leaf in leaves if leaf.present(config))
        return build_tree((path, jax.ShapeDtypeStruct((*stack, *leaf.shape(config)), dtype)) for path, leaf in there)

    return {**shapes(TOP_LEAVES), "layers": shapes(LAYER_LEAVES, config.n_layers)}


def init_params(config: ModelConfig, key: jax.Array, dtype: Any = jnp.float32, scale: float | None = None) -> Params:
    """Random parameters (normal, standard deviation `scale`, by default ``d_model ** -0.5``; norms 1, biases 0).

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> init_params(config, jax.random.key(0))["layers"]["1"]["attn"]["W_O"].shape
    (8, 4, 4)
    """
    deviation = config.d_model**-0.5 if scale is None else scale
    places = list(leaf_places(config))
    dtype = jnp.zeros((), dtype).dtype  # JAX's own reading of it: float is float32
    keys = jax.random.split(key, len(places))

    def start(leaf: Leaf, index: int) -> jax.Array:
        shape = leaf.shape(config)
        if leaf.init == "normal":
            return _normal(keys, index, deviation, shape, dtype)
        return jnp.full(shape, 1 if leaf.init == "ones" else 0, dtype)

    return build_tree((path, start(leaf, index)) for index, (path, leaf) in enumerate(places))


@partial(jax.jit, static_argnums=(3, 4))
def _normal(
    keys: jax.Array, index: int | jax.Array, deviation: float | jax.Array, shape: tuple[int, ...], dtype: jnp.dtype
) -> jax.Array:
    # One program for each shape, whatever the leaf.
    return (deviation * jax.random.normal(layer_of(keys, index), shape)).astype(dtype)


def is_stacked(params: Params) -> bool:
    """Whether the layers are held as one subtree with a leading layer axis."""
    return "attn" in params["layers"]


def stack_layers(params: Params) -> Params:
    """The same parameters with a leading layer axis on every layer leaf (copies them)."""
    if is_stacked(params):
        return params
    layers = [params["layers"][str(i)] for i in range(len(params["layers"]))]
    return {**params, "layers": jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)}


def unstack_layers(params: Params) -> Params:
    """The same parameters with one subtree a layer (copies them)."""
    if not is_stacked(params):
        return params
    layers = params["layers"]
    depth = layers["attn"]["W_O"].shape[0]
    return {
        **params,
        "layers": {str(i): jax.tree.map(lambda leaf, i=i: layer_of(leaf, i), layers) for i in range(depth)},
    }


def leaf_at(params: Params, path: Path, whole: bool = True) -> Any:
    """The leaf at a path of the unstacked tree, of parameters in either layout.

    Args:
        whole: with values; otherwise an array of the same type stands for one layer of a stack.
    """
    stacked = path[0] == "layers" and is_stacked(params)
    node: Any = params
    for part in (path[0], *path[2:]) if stacked else path:
        node = node[part]
    return layer_of(node, int(path[1])) if stacked and whole else node


def leaf_dtypes(config: ModelConfig, params: Params) -> Kinds:
    """The float type of each leaf of parameters in either layout."""
    return {path: np.dtype(leaf_at(params, path, whole=False).dtype) for path, _ in leaf_places(config)}


def unembedding(params: Params, config: ModelConfig, whole: bool = True) -> Unembedding:
    """The unembedding: the embedding's own table where the two are tied.

    Args:
        whole: read a table that is on disk; otherwise it stays there, for a function under `by_layers`.
    """
    W_U = params["unembed"]["W_U"] if "unembed" in params else params["embed"]["W_E"]
    return Unembedding.of(config, in_memory(W_U) if whole else W_U)


def norm_biases(params: Params) -> tuple[jax.Array, jax.Array, jax.Array] | None:
    """β of attention's and of the MLP's norms, ``[layer, d_model]``, and of the final one; None where there is none."""
    if "beta" not in params["final_norm"]:
        return None
    layers = params["layers"]
    attn, mlp = (
        layers[norm]["beta"]
        if is_stacked(params)
        else jnp.stack([layers[str(i)][norm]["beta"] for i in range(len(layers))])
        for norm in ("attn_norm", "mlp_norm")
    )
    return attn, mlp, params["final_norm"]["beta"]
