"""The decoder one column at a time: pure functions over a cache of keys and values."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.automatic_axes import on_any_mesh
from landed_jax.errors import LandedError
from landed_jax.forward_pass import collected, context_of
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.intervention import Interventions, checked
from landed_jax.nn.modules import Decoder
from landed_jax.nn.parameters import Params, is_stacked
from landed_jax.nn.rotary import query_scale, rotary_tables
from landed_jax.nn.tap import Context, Plan
from landed_jax.numerics import compute_dtype, highest_precision, is_concrete
from landed_jax.shapes import ShapeRepr
from landed_jax.tokens import Tokens, as_tokens, check_ids

_KEPT = Plan(frozenset({HookPoint.KEY, HookPoint.VALUE}))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class Cache(ShapeRepr):
    """Keys and values of every column so far, in arrays with room for more: their shapes stay from step to step.

    Attributes:
        keys: after rotary embedding.
        values: of all layers.
        mask: which columns hold a token; False on padding, and on columns that are still to come.
        used: how many columns are filled, padding counted; the next one is put there.
    """

    keys: Float[Array, "layer batch source kv_head head_dim"]
    values: Float[Array, "layer batch source kv_head head_dim"]
    mask: Bool[Array, "batch source"]
    used: Int[Array, ""]


@on_any_mesh("batch", "vocab")
@highest_precision
def prefill(
    params: Params,
    tokens: Tokens | Int[Array, "batch position"],
    config: ModelConfig,
    *,
    capacity: int,
    interventions: Interventions = (),
    dtype: Any = None,
) -> tuple[Float[Array, "batch vocab"], Cache]:
    """Read the prompts: the logits behind their last column, and the cache that `decode_step` goes on from.

    Pure, as `forward` is: it works under ``jit`` (with `config`, `capacity` and `dtype` static), ``vmap`` and sharding.

    Args:
        tokens: ids ``[batch, position]``, or `Tokens` with padding on the left: every prompt ends at the last column.
        capacity: how many columns the cache has room for, those of the prompts counted.
        interventions: changes given as data (`landed.intervene`). Their positions are columns of the cache, as a
            negative one counts from its end; a value with an axis of columns has `capacity` of them.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for a capacity below the prompts' columns, and what `forward` refuses.

    >>> from landed_jax.nn.parameters import init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, cache = prefill(params, jnp.array([[1, 5, 7]]), config, capacity=8)
    >>> logits.shape, cache.keys.shape, int(cache.used)
    ((1, 11), (2, 1, 8, 2, 4), 3)
    >>> logits, cache = decode_step(params, cache, jnp.argmax(logits, axis=-1), config)
    >>> logits.shape, int(cache.used)
    ((1, 11), 4)
    """
    tokens = as_tokens(tokens)
    check_ids(tokens, config.vocab_size)
    batch, length = tokens.ids.shape
    if capacity < length:
        raise LandedError(f"A cache for {capacity} columns has no room for prompts of {length}.")
    dtype = compute_dtype(dtype)
    changes = checked(interventions, config, batch, capacity)
    context = context_of(tokens, config, changes, dtype, jnp.array([length - 1]))
    logits, recorded = _run(params, tokens.ids, config, context, dtype)
    more = capacity - length
    keys, values = (jnp.pad(part, ((0, 0), (0, 0), (0, more), (0, 0), (0, 0))) for part in recorded)
    return logits, Cache(keys, values, jnp.pad(tokens.mask, ((0, 0), (0, more))), jnp.asarray(length, jnp.int32))


@on_any_mesh("batch", "vocab")
@highest_precision
def decode_step(
    params: Params,
    cache: Cache,
    ids: Int[Array, " batch"],
    config: ModelConfig,
    *,
    real: Bool[Array, " batch"] | None = None,
    interventions: Interventions = (),
) -> tuple[Float[Array, "batch vocab"], Cache]:
    """Put one more token behind each prompt: the logits behind it, and the cache with its keys and values.

    Pure, as `prefill` is; one compiled program serves every step, as the shapes do not change. There must be room in
    the cache: under ``jit`` that cannot be checked.

    Args:
        ids: the tokens, one a prompt.
        real: False for prompts that have ended: their column is padding, and its logits mean nothing.
        interventions: as for `prefill`, the same in every step.

    Raises:
        LandedError: for a full cache, and ids that are not ``[batch]``.
    """
    batch, capacity = cache.mask.shape
    if jnp.shape(ids) != (batch,):
        raise LandedError(f"A step takes one token for each of {batch} prompts, not ids of {list(jnp.shape(ids))}.")
    if is_concrete(cache.used) and int(cache.used) >= capacity:
        raise LandedError(f"The cache is full: it has {capacity} columns. Make it with a larger capacity.")
    logits, column = one_column(params, cache, ids, config, real=real, interventions=interventions)
    return logits, put(cache, column)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class Column(ShapeRepr):
    """What a step adds to a cache."""

    keys: Float[Array, "layer batch 1 kv_head head_dim"]
    values: Float[Array, "layer batch 1 kv_head head_dim"]
    mask: Bool[Array, "batch 1"]


@on_any_mesh("batch", "vocab")
@highest_precision
def one_column(
    params: Params,
    cache: Cache,
    ids: jax.Array,
    config: ModelConfig,
    *,
    real: jax.Array | None = None,
    interventions: Interventions = (),
) -> tuple[jax.Array, Column]:
    """`decode_step` with the cache left as it is: the caller may then `put` the column into the cache's own memory."""
    batch, capacity = cache.mask.shape
    dtype = cache.keys.dtype
    changes = checked(interventions, config, batch, capacity)
    positions = jnp.sum(cache.mask, axis=-1, keepdims=True, dtype=jnp.int32)
    here = jnp.ones((batch, 1), bool) if real is None else real[:, None]
    mask = jax.lax.dynamic_update_slice_in_dim(cache.mask, here, cache.used, axis=1)
    tables, scale = rotary_tables(config, positions, dtype), query_scale(config, positions, dtype)
    held = cache.keys, cache.values
    context = Context(tables, scale, mask, positions, None, changes, cache.used[None], cache=held)
    logits, recorded = _run(params, ids[:, None], config, context, dtype)
    return logits, Column(*recorded, here)


def put(cache: Cache, column: Column) -> Cache:
    """The cache with one more column."""

    def placed(whole: jax.Array, own: jax.Array, axis: int) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(whole, own, cache.used, axis=axis)

    keys, values = placed(cache.keys, column.keys, 2), placed(cache.values, column.values, 2)
    return Cache(keys, values, placed(cache.mask, column.mask, 1), cache.used + 1)


def _run(
    params: Params, ids: jax.Array, config: ModelConfig, context: Context, dtype: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The logits of the last column, and all layers' keys and values of the columns that were run."""
    decoder = Decoder(config, _KEPT, is_stacked(params))
    how: dict[str, Any] = {"mutable": ["intermediates"]}
    logits, state = decoder.apply({"params": params}, ids, context, dtype, **how)
    sown = collected(state["intermediates"], _KEPT.record, config.n_layers)
    return logits[:, -1], (sown[HookPoint.KEY.value], sown[HookPoint.VALUE.value])
