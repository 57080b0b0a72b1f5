"""The weights of the layer that a question is about, and checks of its numbers."""

from typing import Any

import jax
import jax.numpy as jnp

from landed_jax.errors import LandedError
from landed_jax.nn.parameters import Params, is_stacked
from landed_jax.numerics import is_concrete, layer_of
from landed_jax.trace import Trace


def weights_of_layer(trace: Trace, layer: int) -> Params:
    check_index("layer", layer, trace.config.n_layers)
    layers = trace.weights()["layers"]
    return (
        jax.tree.map(lambda leaf: layer_of(leaf, layer), layers) if is_stacked(trace.weights()) else layers[str(layer)]
    )


def check_index(what: str, index: Any, size: int) -> None:
    if jnp.ndim(index) or not jnp.issubdtype(jnp.result_type(index), jnp.integer):
        raise LandedError(f"A question is of one {what}, by its number: use jax.vmap for several.")
    if is_concrete(index) and not 0 <= index < size:
        raise LandedError(f"There is no {what} {index}: they run from 0 to {size - 1}.")
