"""ALTI-Logit: logit updates of each layer, traced to the input tokens that its streams are made of."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._sources import attribute_by_source
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.interventions._gradients import recorded
from landed_jax.methods._method import Method
from landed_jax.methods._parts import add_to_last_token, last_column
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint, present
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.tasks._pairs import Pairs
from landed_jax.trace import Trace, bare


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """Of tokens; heads have their direct logit updates."""
    config, question = model.config, pairs.question(model.params, model.config, dtype)
    trace = last_column(model, pairs, dtype)
    found, by_source = attribute(trace, question, effects=False), attribute_by_source(trace, question).landed
    sites = {*WRITES, *SOURCES, HookPoint.ATTN_RESIDUAL}
    whole = recorded(model, pairs.clean, present(sites, config), dtype=dtype)
    from_attention = jnp.sum(by_source, axis=(2, 3))
    from_mlp = jnp.sum(found.landed.neurons, axis=-1)[..., 0] + found.landed.mlp_bias[..., 0]
    tokens = _traced(_mixing(bare(whole)), from_attention, from_mlp, config.parallel_blocks)
    tokens = add_to_last_token(tokens, found.landed.embedding[:, 0])
    attn_bias, positions = jnp.sum(found.landed.attn_bias, axis=0), found.landed.position_embedding
    others = (attn_bias + found.offset + (0 if positions is None else positions))[:, 0]
    error = jnp.sum(tokens, axis=1) + others - found.value[:, 0]
    heads, known = found.landed.heads[:, :, 0], whole.provenance
    return Scores(heads, None, tokens, value=found.value[:, 0], conservation_error=error, provenance=known)


@by_layers
def _mixing(trace: Trace) -> Float[Array, "layer batch position source"]:
    """How much each position's stream behind an attention is made of each position's before it; rows sum to 1.

    By how much nearer to it the sum is with a part than without, in the sum of absolute coordinates.
    """

    def layer(writes: LayerWrites, pattern: jax.Array, value: jax.Array, stream: jax.Array) -> jax.Array:
        after = stream + writes.attn_write()
        whole = jnp.sum(jnp.abs(after), axis=-1)
        groups = writes.z.shape[2] // value.shape[2]
        columns = jnp.arange(stream.shape[1])

        def of_source(column: jax.Array) -> Float[Array, "batch position"]:
            taken = jnp.repeat(jnp.take(value, column, axis=1), groups, axis=1)
            z = jnp.moveaxis(jnp.take(pattern, column, axis=3), 1, 2)[..., None] * taken[:, None]
            part = dataclasses.replace(writes, z=z, b_O=None).attn_write()
            part = part + jnp.where((columns == column)[None, :, None], stream, 0)
            return jnp.maximum(whole - jnp.sum(jnp.abs(after - part), axis=-1), 0)

        nearer = jnp.moveaxis(jax.lax.map(of_source, columns), 0, -1)
        total = jnp.sum(nearer, axis=-1, keepdims=True)
        # Where no part brings it nearer, the stream is its own.
        own = jnp.broadcast_to(jnp.eye(len(columns), dtype=nearer.dtype)[None], nearer.shape)
        return jnp.where(total > 0, nearer / jnp.where(total > 0, total, 1), own)

    stacks = trace[HookPoint.PATTERN], trace[HookPoint.VALUE], trace[HookPoint.ATTN_RESIDUAL]
    return from_layers(trace, layer, *stacks)


@functools.partial(jax.jit, static_argnames="parallel")
def _traced(
    mixing: Float[Array, "layer batch position source"],
    from_attention: Float[Array, "layer batch source"],
    from_mlp: Float[Array, "layer batch"],
    parallel: bool,
) -> Float[Array, "batch source"]:
    """The updates at the last column by input token: each by what the stream that it reads is made of."""
    batch, length = mixing.shape[1:3]

    def step(before: jax.Array, layer: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        mix, attention, mlp = layer
        behind = jnp.einsum("bpk,bks->bps", mix, before)
        read = before if parallel else behind
        return behind, jnp.einsum("bk,bks->bs", attention, before) + mlp[:, None] * read[:, -1]

    start = jnp.broadcast_to(jnp.eye(length, dtype=mixing.dtype)[None], (batch, length, length))
    return jnp.sum(jax.lax.scan(step, start, (mixing, from_attention, from_mlp))[1], axis=0)


METHOD = Method(
    "ALTI-Logit",
    score,
    "Ferrando et al., Explaining How Transformers Use Context to Build Predictions, 2023, arXiv:2305.12535",
    "the final norm is RMSNorm or LayerNorm with its σ held; an MLP's update is split as the stream that it reads; "
    "biases, β and learned positions go to no token",
    corrupted=False,
    neurons=False,
)
