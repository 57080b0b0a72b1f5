"""Products with the weights: the plain form of each first, and below it the form that XLA on a CPU computes faster.

A tuned form is taken in programs compiled for a CPU, at the sizes where it was measured to help; ``LANDED_PLAIN=1``
leaves it out (`schedule.on_cpu`). Weights come in the checkpoint's layout, outputs first.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.schedule import cast_late, on_cpu
from landed_jax.numerics import narrowed

# Rows up to which XLA's products on a CPU are faster with the weight first: at 32 rows in half the time, at 128 seldom.
FEW_ROWS = 64
# Rows that they take at a time. 28 or 55 filled up to whole tiles take down to 0.7 of the time; 24 or 48 gain nothing.
TILE = 32
# XLA's usual product on a CPU packs the whole matrix first: for few rows and one beyond the caches, half of its time.
FEW_ROWS_TO_PACK, CACHED_BYTES = 48, 2**22


def linear(
    x: Float[Array, "*batch d_in"], weight: Float[Array, "d_out d_in"], *, bfloat16: bool = False
) -> Float[Array, "*batch d_out"]:
    """``x Wᵀ``, with the weight cast to the stream's type as it is used; or both rounded to bfloat16.

    >>> linear(jnp.array([1 + 2**-8]), jnp.ones((1, 1)), bfloat16=True)
    Array([1.], dtype=float32)
    """
    if bfloat16:
        return _rows_first(narrowed(x), _narrowed_late(weight, x), x.dtype)
    weight, count = cast_late(weight, x), math.prod(x.shape[:-1])
    return _rows_first(x, weight) if count > FEW_ROWS else on_cpu(_weight_first, _rows_first, x, weight)


def _rows_first(x: jax.Array, weight: jax.Array, dtype: Any = None) -> jax.Array:
    return jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())), preferred_element_type=dtype)


def _narrowed_late(weight: jax.Array, like: jax.Array) -> jax.Array:
    """The weight in bfloat16, made once `like` is computed, as in `cast_late`."""
    return cast_late(narrowed(weight, keep_type=True), narrowed(like))


def _weight_first(x: jax.Array, weight: jax.Array) -> jax.Array:
    count = math.prod(x.shape[:-1])
    spare = -count % TILE
    # One prompt's: of several, the other axes may be cut over devices.
    if 0 < 3 * spare < count == x.shape[-2]:
        filled = jnp.pad(x, (*((0, 0),) * (x.ndim - 2), (0, spare), (0, 0)))
        return _weight_first(filled, weight)[..., :count, :]
    written = jax.lax.dot_general(weight, x, (((1,), (x.ndim - 1,)), ((), ())))
    # Without the barriers XLA turns the product round again.
    return _held(jnp.moveaxis(_held(written), 0, -1))


def head_linear(
    x: Float[Array, "batch position head d_in"], weight: Float[Array, "kv_head d_out d_in"], *, bfloat16: bool = False
) -> Float[Array, "batch position kv_head group d_out"]:
    """`linear` of an input for each head, with the weight of the key head that it belongs to."""
    dtype, kv_heads = x.dtype, len(weight)
    weight, x = (_narrowed_late(weight, x), narrowed(x)) if bfloat16 else (cast_late(weight, x), x)
    grouped = x.reshape(*x.shape[:2], kv_heads, -1, x.shape[-1])
    return jnp.einsum("bpkgi,koi->bpkgo", grouped, weight, preferred_element_type=dtype)


def contract_output(
    vector: Float[Array, "*batch d_model"], weight: Float[Array, "d_model d_in"]
) -> Float[Array, "*batch d_in"]:
    """``⟨W[:, j], vector⟩`` for every column j: a vector seen from the inputs of an output matrix."""
    weight = cast_late(weight, vector)
    packed = math.prod(vector.shape[:-1]) > FEW_ROWS_TO_PACK or weight.nbytes <= CACHED_BYTES
    return _columns(vector, weight) if packed else on_cpu(_columns_unpacked, _columns, vector, weight)


def _columns(vector: jax.Array, weight: jax.Array) -> jax.Array:
    return jax.lax.dot_general(vector, weight, (((vector.ndim - 1,), (0,)), ((), ())))


def _columns_unpacked(vector: jax.Array, weight: jax.Array) -> jax.Array:
    # Both are read along their first axis. XLA turns that round again unless the vectors are one plain, held matrix.
    rows = vector.reshape(-1, vector.shape[-1])
    seen = jax.lax.dot_general(_held(rows.T), weight, (((0,), (0,)), ((), ())))
    return seen.reshape(*vector.shape[:-1], weight.shape[1])


def columns_of_rows(W: Float[Array, "d_out d_in"], rows: Float[Array, "row d_in"]) -> Float[Array, "d_out row"]:
    """``W rowsᵀ``, kept as one product: XLA would otherwise merge it with a reduction over its first axis."""
    return on_cpu(lambda W, rows: _held(_columns_of_rows(W, rows)), _columns_of_rows, W, rows)


def _columns_of_rows(W: jax.Array, rows: jax.Array) -> jax.Array:
    return jax.lax.dot_general(W, rows, (((1,), (1,)), ((), ())))


def head_by_head(
    z: Float[Array, "batch position head head_dim"], W_O: Float[Array, "d_model head head_dim"]
) -> Float[Array, "batch position head d_model"]:
    """``z_h W_O[h]`` of each head."""
    return on_cpu(_heads_as_rows, _each_head, z, cast_late(W_O, z))


def _each_head(z: jax.Array, W_O: jax.Array) -> jax.Array:
    return jnp.einsum("bphi,mhi->bphm", z, W_O)


def _heads_as_rows(z: jax.Array, W_O: jax.Array) -> jax.Array:
    # One product with rows of zeros but for one head: for a product of each head XLA turns the whole matrix round.
    heads = z.shape[2]
    alone = jnp.where(jnp.eye(heads, dtype=bool)[None, None, :, :, None], z[:, :, None], 0)
    return linear(alone.reshape(*z.shape[:3], -1), W_O.reshape(len(W_O), -1))


@jax.jit
def head_grams(
    W_O: Float[Array, "d_model head head_dim"], weight: Float[Array, " d_model"] | None = None
) -> Float[Array, "head head_dim head_dim"]:
    """``W_O[h]ᵀ W_O[h]`` of each head, or ``W_O[h]ᵀ diag(weight) W_O[h]``."""
    weights = () if weight is None else (weight,)
    return on_cpu(_grams_head_by_head, _grams, W_O, *weights)


def _grams(W_O: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    return jnp.einsum("mhi,mhj->hij", W_O if weight is None else W_O * weight[:, None, None], W_O)


def _grams_head_by_head(W_O: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    # For one product of all heads XLA transposes the whole matrix first, which takes twice as long as the products.
    rows, heads, head_dim = W_O.shape
    flat = W_O.reshape(rows, -1)

    def one(head: jax.Array) -> jax.Array:
        own = jax.lax.dynamic_slice_in_dim(flat, head * head_dim, head_dim, axis=1)
        return (own if weight is None else own * weight[:, None]).T @ own

    return jax.lax.map(one, jnp.arange(heads))


def squares_by_gram(
    z: Float[Array, "batch position head head_dim"], gram: Float[Array, "head head_dim head_dim"]
) -> Float[Array, "batch position head"]:
    """``z_hᵀ G_h z_h`` of each head: its write's squared length, where G is `head_grams`."""
    # Heads first, as the product comes out: for another order XLA on a CPU takes twice as long.
    z = jnp.moveaxis(z, 2, 0)
    return jnp.moveaxis(jnp.vecdot(z, jnp.einsum("hbpi,hij->hbpj", z, gram)), 0, -1)


def column_norms(W_down: Float[Array, "d_model neuron"]) -> Float[Array, " neuron"]:
    """The squared norm of each column."""
    return jnp.einsum("mf,mf->f", W_down, W_down)


def _held(value: jax.Array) -> jax.Array:
    return jax.lax.optimization_barrier(value)
