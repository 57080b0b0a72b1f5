"""One write's own output weights, and no others; every head's write as a vector."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.experts import Chosen
from landed_jax.nn.output_scale import OutputScale
from landed_jax.nn.schedule import cast_late
from landed_jax.nn.weights_on_disk import in_memory


def output_weights(layers: Any, kind: str, layer: int, index: int, expert: int | None = None) -> Array:
    """A head's ``[d_model, head_dim]``, or a neuron's ``[d_model]``.

    Args:
        layers: the layers' parameters, in either way of keeping them.
        kind: ``head`` or ``neuron``.
        expert: whose neuron it is, in a model with experts.
    """
    part, name = ("attn", "W_O") if kind == "head" else ("mlp" if expert is None else "experts", "W_down")
    leaf, place = (layers[part][name], (layer,)) if "attn" in layers else (layers[str(layer)][part][name], ())
    return leaf[(*place, *(() if expert is None else (expert,)), slice(None), index)]


def output_bias(layers: Any, kind: str, layer: int, chosen: Chosen | None = None) -> Array | None:
    """One layer's ``attn_bias`` or ``mlp_bias``, ``[d_model]``; None in a model without it.

    Args:
        chosen: the experts of the one position, ``[slot]``: their biases, times their weights, are one write.
    """
    part, name = ("attn", "b_O") if kind == "attn_bias" else ("mlp" if chosen is None else "experts", "b_down")
    leaf = layers[part].get(name) if "attn" in layers else layers[str(layer)][part].get(name)
    leaf = leaf if leaf is None or "attn" not in layers else leaf[layer]
    if leaf is None or name == "b_O" or chosen is None:
        return leaf
    return chosen.weights @ jnp.take(in_memory(leaf), chosen.ids, axis=0).astype(chosen.weights.dtype)


def head_writes(
    z: Float[Array, "batch position head head_dim"], W_O: Float[Array, "d_model head head_dim"], scale: OutputScale
) -> Float[Array, "head batch position d_model"]:
    """Every head's write as a vector: for a few positions, of a layer at a time."""
    each = jnp.einsum("bphi,mhi->bphm", z, cast_late(W_O, z))
    return jnp.moveaxis(scale.written(each), 2, 0)
