"""The matrix products alone, in JAX and in torch: the part of a ratio that is due to the libraries."""

from typing import Any

import jax

from landed_jax import ModelConfig
from landed_jax.nn.parameters import Params, unembedding, unstack_layers
from landed_jax.nn.products import contract_output, linear
from landed_jax.numerics import highest_precision


@highest_precision
def forward_products(params: Params, ids: jax.Array, config: ModelConfig) -> dict[str, Any]:
    """The products of a forward pass in sequence, with only cheap operations between them."""
    stream = params["embed"]["W_E"][ids[0]]
    for part in _layers(params, config):
        attn, mlp = part["attn"], part["mlp"]
        q, k, v = (linear(stream, attn[name].reshape(-1, config.d_model)) for name in ("W_Q", "W_K", "W_V"))
        mixed = q.reshape(len(q), -1, k.shape[-1]) + (k + v)[:, None]
        stream = linear(mixed.reshape(q.shape), attn["W_O"].reshape(config.d_model, -1))
        stream = linear(linear(stream, mlp["W_gate"]) + linear(stream, mlp["W_up"]), mlp["W_down"])
    return {"logits": unembedding(params, config).uncapped(stream)}


@highest_precision
def projections(params: Params, ids: jax.Array, config: ModelConfig) -> dict[str, Any]:
    """Products of a vector per position with every layer's output matrices, which an attribution adds."""
    vector = params["embed"]["W_E"][ids[0]]
    parts = _layers(params, config)
    return {
        "heads": [contract_output(vector, part["attn"]["W_O"].reshape(config.d_model, -1)) for part in parts],
        "neurons": [contract_output(vector, part["mlp"]["W_down"]) for part in parts],
    }


def torch_forward_products(model: Any, ids: Any) -> dict[str, Any]:
    """`forward_products` in torch."""
    stream = model.model.embed_tokens(ids[0])
    for layer in model.model.layers:
        attn, mlp = layer.self_attn, layer.mlp
        q, k, v = attn.q_proj(stream), attn.k_proj(stream), attn.v_proj(stream)
        mixed = q.view(len(q), -1, k.shape[-1]) + (k + v)[:, None]
        stream = attn.o_proj(mixed.view(q.shape))
        stream = mlp.down_proj(mlp.gate_proj(stream) + mlp.up_proj(stream))
    return {"logits": model.lm_head(stream)}


def torch_projections(model: Any, ids: Any) -> dict[str, Any]:
    """`projections` in torch."""
    vector = model.model.embed_tokens(ids[0])
    return {
        "heads": [vector @ layer.self_attn.o_proj.weight for layer in model.model.layers],
        "neurons": [vector @ layer.mlp.down_proj.weight for layer in model.model.layers],
    }


def _layers(params: Params, config: ModelConfig) -> list[Params]:
    """The parameters of each layer; slices of a stack are part of the measured time."""
    layers = unstack_layers(params)["layers"]
    return [layers[str(i)] for i in range(config.n_layers)]
