"""What the methods share: hook points of components, their products with slopes, and the value of the question."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.interventions._gradients import recorded
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import EMBEDDINGS, SOURCES, WRITES, HookPoint
from landed_jax.nn.per_write import PerWrite
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import check_aligned
from landed_jax.trace import Trace

SITES = frozenset({HookPoint.EMBEDDING, HookPoint.HEAD, HookPoint.NEURON})

ByPoint = Mapping[HookPoint, jax.Array]


def scores_of(config: ModelConfig, products: ByPoint, **how: Any) -> Scores:
    """Scores from each number's share at the hook points `SITES`: sums over positions and coordinates."""
    heads = jnp.sum(products[HookPoint.HEAD], axis=(2, 4))
    neurons = None if config.n_experts else jnp.sum(products[HookPoint.NEURON], axis=2)
    return Scores(heads, neurons, jnp.sum(products[HookPoint.EMBEDDING], axis=-1), **how)


def product(values: ByPoint, slopes: ByPoint) -> dict[HookPoint, jax.Array]:
    """Of both numbers, at each hook point."""
    return {site: values[site] * slope for site, slope in slopes.items()}


def difference(values: Any, others: Any) -> dict[HookPoint, jax.Array]:
    """``values − others`` at each of `SITES`."""
    return {site: values[site] - others[site] for site in SITES}


def tokens_error(products: ByPoint, value: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """The sum of what the stream begins with, tokens and learned positions where they are given, less the value."""
    begins = [jnp.sum(products[site], axis=(1, 2)) for site in sorted(EMBEDDINGS & products.keys())]
    return sum(begins, start=-value)


def value_of(model: Model, pairs: Pairs, trace: Trace) -> Float[Array, " batch"]:
    """The question's value in a run of which every column was recorded."""
    normed = trace[HookPoint.FINAL_NORMED][:, -1]
    return jnp.vecdot(normed, pairs.question(model.params, model.config, normed.dtype).vector[:, 0])


def recorded_corrupted(model: Model, pairs: Pairs, dtype: Any) -> Trace:
    """A trace of the corrupted prompts with what passes `SITES`, to be compared with the clean ones column by column.

    Raises:
        LandedError: for prompts that are not aligned.
    """
    check_aligned(pairs.clean, pairs.corrupted)
    return recorded(model, pairs.corrupted, SITES, dtype=dtype)


def last_column(model: Model, pairs: Pairs, dtype: Any) -> Trace:
    """A trace of the clean prompts' last column, with what splits heads by source."""
    return model.trace(pairs.clean, record=WRITES | SOURCES, at=-1, dtype=dtype)


def direct_scores(pairs: Pairs, trace: Trace, shares: PerWrite, tokens: jax.Array | None, **how: Any) -> Scores:
    """Scores of the writes at one position."""
    neurons = None if trace.config.n_experts else shares.neurons[:, :, 0]
    known = dataclasses.replace(trace.provenance, at=jnp.arange(pairs.clean.ids.shape[1]))
    return Scores(shares.heads[:, :, 0], neurons, tokens, provenance=known, **how)


def add_to_last_token(
    by_source: Float[Array, "batch source"], own: Float[Array, " batch"]
) -> Float[Array, "batch source"]:
    """What is taken from each token, and at the last one its own."""
    return by_source.at[:, -1].add(own)
