"""One layer in which every read may have an input of its own, and its slope: one compiled program a kind of layer."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.config import LayerKind, ModelConfig
from landed_jax.nn.hook_points import SCALES, HookPoint, present
from landed_jax.nn.modules import MLP, Attention, Experts, Output, ReadNorm
from landed_jax.nn.output_weights import head_writes
from landed_jax.nn.parameters import Params
from landed_jax.nn.tap import Context, Plan
from landed_jax.numerics import highest_precision, is_concrete, layer_of

Sigmas = Mapping[str, jax.Array]
"""σ of norms, ``[batch, position]`` each, by the names of their hook points."""

_SIGMAS = frozenset(point for point in SCALES if point.value.endswith("_sigma"))


class Shifts(NamedTuple):
    """What is added to the stream for each read of a layer alone.

    Attributes:
        heads: for each head's query, key and value.
        mlp: for the MLP.
    """

    heads: Float[Array, "3 batch position head d_model"]
    mlp: Float[Array, "batch position d_model"]


class _Half:
    """The modules of one layer's attention or MLP with its parameters: what it writes, and the σ that it divided by."""

    def __init__(self, config: ModelConfig, part: Params, layer: jax.Array, context: Context, held: Sigmas) -> None:
        self.config, self.part, self.layer, self.context = config, part, layer, context
        self.plan, self.sigmas = plan_of(config, held), {}

    def call(self, module: type[Any], name: str, x: jax.Array, *how: Any) -> Any:
        """A module of the layer, with its own parameters; σ that it records are kept."""
        made = module(self.config, self.plan, *how, parent=None)
        params = {"params": self.part.get(name, {})}
        found, kept = made.apply(params, x, self.layer, self.context, mutable=["intermediates"])
        self.sigmas |= kept.get("intermediates", {})
        return found

    def attention(self, x: jax.Array, kind: LayerKind, shift: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Its write, and each head's ``[head, batch, position, d_model]``."""
        reads = x if shift is None else x[None, :, :, None] + shift
        out, z = self.call(Attention, "attn", self.call(ReadNorm, "attn_norm", reads, "attn"), kind)
        write, scale = self.call(Output, "attn_out_norm", out, "attn")
        return write, head_writes(z, self.part["attn"]["W_O"], scale)

    def mlp(self, x: jax.Array, shift: jax.Array | None) -> jax.Array:
        """Its write, the bias with it."""
        normed = self.call(ReadNorm, "mlp_norm", x if shift is None else x + shift, "mlp")
        kind, name = (Experts, "experts") if self.config.n_experts else (MLP, "mlp")
        return self.call(Output, "mlp_out_norm", self.call(kind, name, normed)[0], "mlp")[0]


def plan_of(config: ModelConfig, held: Sigmas) -> Plan:
    """σ held as they are given; without any, recorded."""
    if not held:
        return Plan(present(_SIGMAS, config))
    return Plan(edits=tuple((HookPoint(name), functools.partial(_as_held, held[name])) for name in sorted(held)))


def _as_held(sigma: jax.Array, value: jax.Array, layer: jax.Array | None) -> jax.Array:
    wide = sigma if value.ndim == sigma.ndim else sigma[None, :, :, None]  # each head's query, key and value
    return jnp.broadcast_to(wide, value.shape)


@functools.partial(jax.jit, static_argnames=("config", "kind"))
@highest_precision
def whole_layer(
    layers: Params,
    x: jax.Array,
    layer: jax.Array,
    context: Context,
    held: Sigmas,
    *,
    config: ModelConfig,
    kind: LayerKind,
) -> tuple[jax.Array, Float[Array, "node batch position d_model"], Sigmas]:
    """A layer of an ordinary run: the stream after it, its nodes' writes, and its σ."""
    half = _Half(config, _part(layers, layer), layer, context, held)
    attn, heads = half.attention(x, kind, None)
    mlp = half.mlp(x if config.parallel_blocks else x + attn, None)
    return x + attn + mlp, jnp.concatenate([heads, mlp[None]]), half.sigmas


@highest_precision
def _split_layer(
    layers: Params,
    x: Float[Array, "run batch position d_model"],
    changes: Float[Array, "run sender batch position d_model"],
    other: Float[Array, "node batch position d_model"],
    weights: Float[Array, "run layer read sender"],
    layer: jax.Array,
    context: Context,
    held: Sigmas,
    *,
    config: ModelConfig,
    kind: LayerKind,
) -> tuple[jax.Array, jax.Array]:
    """A layer of several split runs: the streams after it, and `changes` with its own nodes' set.

    Args:
        changes: of each node before the layer, what its write is in the other run less what it is in this one.
        other: the layer's nodes' writes in the other run.
        weights: how much of each node's change each read of each layer gets.
    """
    part, heads, first = _part(layers, layer), config.n_heads, 1 + layer * (config.n_heads + 1)
    own = jax.lax.dynamic_index_in_dim(weights, layer, 1, keepdims=False)

    def attention(x: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array]:
        by_head = jnp.moveaxis(shift.reshape(3, heads, *x.shape), 1, 3)
        return _Half(config, part, layer, context, held).attention(x, kind, by_head)

    def mlp(x: jax.Array, shift: jax.Array) -> jax.Array:
        return _Half(config, part, layer, context, held).mlp(x, shift[0])

    # The changes are set outside of vmap, which would make a scatter of it.
    attn, writes = jax.vmap(attention)(x, combined(own[:, : 3 * heads], changes))
    changes = jax.lax.dynamic_update_slice_in_dim(changes, other[None, :heads] - writes, first, 1)
    read = x if config.parallel_blocks else x + attn
    write = jax.vmap(mlp)(read, combined(own[:, 3 * heads :], changes))
    changes = jax.lax.dynamic_update_slice_in_dim(changes, (other[None, heads] - write)[:, None], first + heads, 1)
    return x + attn + write, changes


_split = jax.jit(_split_layer, static_argnames=("config", "kind"))
_split_in_place = jax.jit(_split_layer, static_argnames=("config", "kind"), donate_argnames="changes")


def split_layer(
    layers: Params, x: jax.Array, changes: jax.Array, *rest: Any, **kind: Any
) -> tuple[jax.Array, jax.Array]:
    """`_split_layer`, compiled; `changes` are given away where no transform needs them again: a copy takes as long."""
    known = all(map(is_concrete, jax.tree.leaves((layers, x, changes, rest))))
    return (_split_in_place if known else _split)(layers, x, changes, *rest, **kind)


@functools.partial(jax.jit, static_argnames=("config", "kind"))
@highest_precision
def layer_slopes(
    layers: Params,
    x: jax.Array,
    after: Float[Array, "batch position d_model"],
    layer: jax.Array,
    context: Context,
    held: Sigmas,
    *,
    config: ModelConfig,
    kind: LayerKind,
) -> tuple[jax.Array, Float[Array, "read batch position d_model"]]:
    """The slopes of a value by the stream before a layer, and by the input of each of its reads alone.

    Args:
        x: the stream before the layer.
        after: the value's slope by the stream after it.
    """
    part = _part(layers, layer)

    def run(x: jax.Array, shifts: Shifts) -> jax.Array:
        half = _Half(config, part, layer, context, held)
        attn, _ = half.attention(x, kind, shifts.heads)
        return x + attn + half.mlp(x if config.parallel_blocks else x + attn, shifts.mlp)

    nothing = Shifts(jnp.zeros((3, *x.shape[:2], config.n_heads, x.shape[2]), x.dtype), jnp.zeros_like(x))
    before, of_reads = jax.vjp(run, x, nothing)[1](after)
    heads = jnp.moveaxis(of_reads.heads, 3, 1).reshape(-1, *x.shape)
    return before, jnp.concatenate([heads, of_reads.mlp[None]])


def combined(
    weights: Float[Array, "run read sender"], changes: Float[Array, "run sender batch position d_model"]
) -> Float[Array, "run read batch position d_model"]:
    """What each read gets of all nodes' changes."""
    return jnp.einsum("cru,cubpd->crbpd", weights, changes)


def _part(layers: Params, layer: jax.Array) -> Params:
    """One layer's parameters, from its own or from all layers' stacked."""
    stacked = layers["attn"]["W_O"].ndim == 4
    return jax.tree.map(lambda leaf: layer_of(leaf, layer), layers) if stacked else layers
