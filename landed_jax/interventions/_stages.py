"""A forward pass in stages, each a compiled program of many runs at once: embedding, a layer, what is measured.

A stage is compiled once for each structure of interventions (which hook points, what is done), kind of layer and shape;
which heads, layers, positions and values are meant is data.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from landed_jax.forward_pass import forward
from landed_jax.nn.config import LayerKind, ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.intervention import Intervention, intervened
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.modules import Block, Embed, ReadNorm
from landed_jax.nn.parameters import Params, is_stacked, unembedding
from landed_jax.nn.rotary import query_scale, rotary_tables
from landed_jax.nn.tap import Context, Plan
from landed_jax.nn.weights_on_disk import in_memory
from landed_jax.numerics import highest_precision, layer_of
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

_KEPT = (
    *(HookPoint.ATTN_RESIDUAL, HookPoint.KEY, HookPoint.VALUE),
    *(HookPoint.FINAL_RESIDUAL, HookPoint.FINAL_SIGMA, HookPoint.FINAL_GAMMA, HookPoint.FINAL_NORMED),
)


class Batch(NamedTuple):
    """Interventions of one structure as their leaves, of which some have a leading axis: one element a run.

    Attributes:
        leaves: of the tuple of interventions that `tree` describes.
        axes: 0 where a leaf has the leading axis, None where all runs share it.
    """

    leaves: tuple[Any, ...]
    tree: Any
    axes: tuple[int | None, ...]

    def one(self, leaves: Any) -> tuple[Intervention, ...]:
        return jax.tree.unflatten(self.tree, leaves)


class Span(NamedTuple):
    """The columns that are computed: from `first` on, and before `end`. Static."""

    first: int
    end: int


class Shared(NamedTuple):
    """What all runs share: arrays.

    Attributes:
        context: as of a forward pass over all columns; its interventions take part in every run.
        keys, values: of all layers in the clean run, ``[layer, batch, source, kv_head, head_dim]``.
    """

    context: Context
    keys: jax.Array
    values: jax.Array


@functools.partial(by_layers, static=("config", "dtype"))
@highest_precision
def clean_pass(
    params: Params, tokens: Tokens, interventions: tuple[Intervention, ...], *, config: ModelConfig, dtype: Any
) -> tuple[Trace, Shared]:
    """The run that all others start from: its stream before each layer, its keys and values; no logits."""
    how: dict[str, Any] = {"record": _KEPT, "interventions": interventions, "dtype": dtype}
    trace = forward(params, tokens, config, **how)[1]
    positions = tokens.positions
    tables, scale = rotary_tables(config, positions, dtype), query_scale(config, positions, dtype)
    context = Context(tables, scale, tokens.mask, positions, None, interventions)
    return trace, Shared(context, trace[HookPoint.KEY], trace[HookPoint.VALUE])


def _within(
    shared: Shared,
    span: Span,
    own: tuple[Intervention, ...],
    layer: jax.Array | None = None,
    asked: jax.Array | None = None,
) -> Context:
    """The context of a run that computes the columns of a span; of the last layer, only what the `asked` need."""
    context = shared.context
    part = slice(span.first, span.end)
    earlier = None
    if span.first and layer is not None:
        keys, values = (layer_of(whole, layer)[:, : span.first] for whole in (shared.keys, shared.values))
        earlier = keys, values
    return context._replace(
        rotary=tuple((cos[:, part], sin[:, part]) for cos, sin in context.rotary),
        query_scale=None if context.query_scale is None else context.query_scale[:, part],
        mask=context.mask[:, : span.end],
        positions=context.positions[:, part],
        interventions=(*context.interventions, *own),
        columns=jnp.arange(span.first, span.end),
        earlier=earlier,
        asked=asked,
    )


@functools.partial(jax.jit, static_argnames=("config", "span", "tree", "axes", "runs", "dtype"))
@highest_precision
def embedded(
    params: Params,
    ids: jax.Array,
    shared: Shared,
    leaves: tuple[Any, ...],
    *,
    config: ModelConfig,
    span: Span,
    tree: Any,
    axes: tuple[int | None, ...],
    runs: int,
    dtype: Any,
) -> jax.Array:
    """The stream before the first layer, ``[run, batch, position, d_model]``."""
    embed = Embed(config, Plan(), parent=None)

    def one(leaves: tuple[Any, ...]) -> jax.Array:
        context = _within(shared, span, jax.tree.unflatten(tree, leaves))
        return embed.apply({"params": params}, ids[:, span.first : span.end], dtype, context)  # pyright: ignore[reportReturnType]

    return jax.vmap(one, in_axes=(axes,), axis_size=runs)(leaves)


@functools.partial(jax.jit, static_argnames=("config", "kind", "span", "tree", "axes", "runs", "together", "last"))
@highest_precision
def after_layer(
    layers: Params,
    x: jax.Array,
    index: jax.Array,
    shared: Shared,
    leaves: tuple[Any, ...],
    asked: jax.Array,
    watched: jax.Array | None = None,
    *,
    config: ModelConfig,
    kind: LayerKind,
    span: Span,
    tree: Any,
    axes: tuple[int | None, ...],
    runs: int,
    together: bool,
    last: bool,
) -> tuple[jax.Array, jax.Array | None]:
    """The stream after a layer, ``[run, batch, position, d_model]``, and what its two writes say along a vector.

    Args:
        layers: the layer's own subtree, or all layers' stacked.
        x: the stream before it, of each run; or where they are still all alike (`together`) the clean run's before
            every layer, all columns. What comes before the intervention is then computed once.
        asked: the columns that are measured.
        watched: vectors ``[batch, asked, d_model]``.
        last: whether it is the last layer, of which only the asked columns are needed.
    """
    if together:
        x = layer_of(x, index)[:, span.first : span.end]
    asked = asked - span.first
    part = jax.tree.map(lambda leaf: layer_of(leaf, index), layers) if "attn" in layers and _stacked(layers) else layers
    record = frozenset() if watched is None else frozenset({HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE})
    block = Block(config, Plan(record), kind, parent=None)

    def one(x: jax.Array, leaves: tuple[Any, ...]) -> tuple[jax.Array, jax.Array | None]:
        context = _within(shared, span, jax.tree.unflatten(tree, leaves), index, asked if last else None)
        found: Any = block.apply({"params": part}, x, index, context, mutable=["intermediates"])
        x, kept = found
        if watched is None:
            return x, None
        writes = [kept["intermediates"][name][f"{site}_write"] for site, name in _WRITES]
        here = writes if last else [jnp.take(write, asked, axis=1) for write in writes]
        return x, jnp.stack([jnp.vecdot(write, watched) for write in here])

    return jax.vmap(one, in_axes=(None if together else 0, axes), axis_size=runs)(x, leaves)


_WRITES = (("attn", "attn_out_norm"), ("mlp", "mlp_out_norm"))


def _stacked(layers: Params) -> bool:
    return layers["attn"]["W_O"].ndim == 4


@functools.partial(jax.jit, static_argnames=("config", "tree", "axes", "runs"))
@highest_precision
def measured(
    params: Params,
    x: jax.Array,
    columns: jax.Array,
    shared: Shared,
    leaves: tuple[Any, ...],
    measure: Any,
    *,
    config: ModelConfig,
    tree: Any,
    axes: tuple[int | None, ...],
    runs: int,
) -> jax.Array:
    """What is measured of each run at the asked columns, ``[run, batch, position]``.

    Args:
        params: the final norm's and the unembedding's.
        x: the stream after the last layer at the asked columns, of each run; or, without that axis, of all.
        columns: those that are asked.
    """
    norm, to_logits = ReadNorm(config, Plan(), "final", parent=None), unembedding(params, config)

    def one(x: jax.Array, leaves: tuple[Any, ...]) -> jax.Array:
        own = (*shared.context.interventions, *jax.tree.unflatten(tree, leaves))
        context = shared.context._replace(interventions=own, columns=columns)
        x = intervened(own, HookPoint.FINAL_RESIDUAL, x, None, columns)
        normed: Any = norm.apply({"params": params["final_norm"]}, x, None, context)
        return measure(normed, to_logits)

    return jax.vmap(one, in_axes=(0 if x.ndim == 4 else None, axes), axis_size=runs)(x, leaves)


def layer_params(params: Params, layer: int) -> Params:
    """What `after_layer` takes: one layer's subtree, or all of them where they are stacked."""
    return params["layers"] if is_stacked(params) else in_memory(params["layers"][str(layer)])


def top_params(params: Params) -> Params:
    """The parameters outside of the layers."""
    return {name: in_memory(part) for name, part in params.items() if name != "layers"}
