"""The largest of many numbers, exactly."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.schedule import PLAIN

# Numbers up to which a sort compiles fast for a TPU. Its time grows with log²: 512 take 0.2 s, 32,000 take 10 s.
SORTED = 2048
# Bits of a key that are found at a time.
DIGIT = 4


def largest(
    values: Float[Array, "*lead number"], count: int
) -> tuple[Float[Array, "*lead rank"], Int[Array, "*lead rank"]]:
    """The `count` largest numbers of the last axis and their places, largest first, the first among equals first.

    As ``jax.lax.top_k``, which for a TPU sorts all of them; of float32 or float64, and not for NaN.

    >>> values, places = largest(jnp.array([3.0, 1.0, 4.0, 1.0, 5.0]), 2)
    >>> values.tolist(), places.tolist()
    ([5.0, 4.0], [4, 2])
    """

    def sort(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        found, places = jax.lax.top_k(values, count)  # a list
        return found, places

    def select(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        places = selected(values, count)
        found, order = jax.lax.top_k(jnp.take_along_axis(values, places, axis=-1), count)
        return found, jnp.take_along_axis(places, order, axis=-1)

    if PLAIN or values.shape[-1] <= max(SORTED, count):
        return sort(values)
    return jax.lax.platform_dependent(values, tpu=select, default=sort)


def selected(values: Float[Array, "*lead number"], count: int) -> Int[Array, "*lead rank"]:
    """The places of the `count` largest numbers, in their order, without a sort: by the `count`-th largest.

    >>> selected(jnp.array([3.0, -1.0, 4.0, 4.0, -jnp.inf]), 3).tolist()
    [0, 2, 3]
    """
    keys = _keys(values)
    bits = 8 * keys.dtype.itemsize
    digits = jnp.arange(1, 2**DIGIT, dtype=keys.dtype)

    def step(i: jax.Array, found: jax.Array) -> jax.Array:
        shift = jnp.asarray(bits - DIGIT, keys.dtype) - jnp.asarray(DIGIT, keys.dtype) * i.astype(keys.dtype)
        tried = found[..., None] | (digits << shift).reshape((1,) * found.ndim + (-1,))
        counts = jnp.sum(keys[..., None, :] >= tried[..., None], axis=-1)
        digit = jnp.sum(counts >= count, axis=-1).astype(keys.dtype)  # the counts descend
        return found | (digit << shift)

    least = jax.lax.fori_loop(0, bits // DIGIT, step, jnp.zeros(values.shape[:-1], keys.dtype))[..., None]
    above, equal = keys > least, keys == least
    spare = count - jnp.sum(above, axis=-1, keepdims=True)
    chosen = above | (equal & (jnp.cumsum(equal, axis=-1) <= spare))
    rank = jnp.cumsum(chosen, axis=-1)
    wanted = jnp.arange(1, count + 1, dtype=rank.dtype)

    def places_in(row: jax.Array) -> jax.Array:
        return jnp.searchsorted(row, wanted)

    for _ in range(rank.ndim - 1):  # one axis after another, as a mesh may cut two of them
        places_in = jax.vmap(places_in)
    return places_in(rank)


def _keys(values: jax.Array) -> jax.Array:
    """Whole numbers without sign, in the same order."""
    kind = {4: jnp.uint32, 8: jnp.uint64}[values.dtype.itemsize]
    raw = jax.lax.bitcast_convert_type(values, kind)
    top = jnp.asarray(1 << (8 * values.dtype.itemsize - 1), kind)
    return jnp.where(raw & top != 0, ~raw, raw | top)
