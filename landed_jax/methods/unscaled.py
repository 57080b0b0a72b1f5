"""Writes times the unembedding's direction, with neither σ nor γ: what direct logit attribution must not forget."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.writes._projections import from_layers, inner_products
from landed_jax.methods._method import Method
from landed_jax.methods._parts import add_to_last_token, direct_scores, last_column
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.per_write import PerWrite
from landed_jax.tasks._pairs import Pairs
from landed_jax.trace import Trace, bare


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """Its value is the product of the bare stream with the direction; the norm's β has no part in it."""
    trace = last_column(model, pairs, dtype)
    stream = trace[HookPoint.FINAL_RESIDUAL]
    vector = pairs.question(model.params, model.config, stream.dtype).vector
    products, by_source = _products(bare(trace), vector)
    tokens = add_to_last_token(by_source, products.embedding[:, 0])
    value = jnp.vecdot(stream, vector)[:, 0]
    error = products.total()[:, 0] - value
    return direct_scores(pairs, trace, products, tokens, value=value, conservation_error=error)


@by_layers
def _products(trace: Trace, vector: Float[Array, "batch one d_model"]) -> tuple[PerWrite, Float[Array, "batch source"]]:
    """Of every write with the vector, and of all heads' by the token that they take it from."""
    sources = trace[HookPoint.PATTERN], trace[HookPoint.VALUE]
    split = from_layers(trace, lambda writes, pattern, value: writes.by_source(vector, pattern, value), *sources)
    return inner_products(trace, vector), jnp.sum(split, axis=(0, 2, 3))


METHOD = Method("unscaled", score, "", "the final norm is left out", corrupted=False)
