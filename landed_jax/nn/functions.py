"""The decoder's mathematics, as pure functions of arrays. Weights come in the checkpoint's layout, outputs first."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.config import Activation
from landed_jax.numerics import cast_late, left_broadcast


def rms_sigma(x: Float[Array, "*batch d_model"], eps: float) -> Float[Array, "*batch"]:
    """σ = sqrt(mean(x²) + ε), the root mean square that RMSNorm divides by (Zhang & Sennrich 2019, eq. 4).

    >>> float(rms_sigma(jnp.array([1.0, 7.0]), 0.0))
    5.0
    """
    return jnp.sqrt(jnp.mean(jnp.square(x), axis=-1) + eps)


def scale_stream(
    x: Float[Array, "*batch d_model"], sigma: Float[Array, "*batch"], gamma: Float[Array, " d_model"]
) -> Float[Array, "*batch d_model"]:
    """``x / σ ⊙ γ``: RMSNorm of the stream, and the landed form of any vector that is written to it."""
    return x / sigma[..., None] * left_broadcast(gamma, x)


# Rows up to which XLA's products on CPU are faster with the weight first: at 32 rows in half the time, at 128 seldom.
FEW_ROWS = 64
# Rows that they take at a time. 28 or 55 filled up to whole tiles take down to 0.7 of the time; 24 or 48 gain nothing.
TILE = 32


def linear(x: Float[Array, "*batch d_in"], weight: Float[Array, "d_out d_in"]) -> Float[Array, "*batch d_out"]:
    """``x Wᵀ``, with the weight cast to the stream's type as it is used."""
    weight, count = cast_late(weight, x), math.prod(x.shape[:-1])
    if jax.default_backend() != "cpu" or count > FEW_ROWS:
        return jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    spare = -count % TILE
    # One prompt's: of several, the other axes may be cut over devices.
    if 0 < 3 * spare < count == x.shape[-2]:
        filled = jnp.pad(x, (*((0, 0),) * (x.ndim - 2), (0, spare), (0, 0)))
        return linear(filled, weight)[..., :count, :]
    written = jax.lax.dot_general(weight, x, (((1,), (x.ndim - 1,)), ((), ())))
    # The barriers keep XLA from turning the product round again.
    return _held(jnp.moveaxis(_held(written), 0, -1))


# XLA's usual product on a CPU packs the whole matrix first: for few rows and one beyond the caches, half of its time.
FEW_ROWS_TO_PACK, CACHED_BYTES = 48, 2**22


def contract_output(
    vector: Float[Array, "*batch d_model"], weight: Float[Array, "d_model d_in"]
) -> Float[Array, "*batch d_in"]:
    """``⟨W[:, j], vector⟩`` for every column j: a vector seen from the inputs of an output matrix."""
    weight = cast_late(weight, vector)
    count = math.prod(vector.shape[:-1])
    if jax.default_backend() != "cpu" or count > FEW_ROWS_TO_PACK or weight.nbytes <= CACHED_BYTES:
        return jax.lax.dot_general(vector, weight, (((vector.ndim - 1,), (0,)), ((), ())))
    # Both are read along their first axis. XLA turns that round again unless the vectors are one plain, held matrix.
    rows = vector.reshape(count, vector.shape[-1])
    seen = jax.lax.dot_general(_held(rows.T), weight, (((0,), (0,)), ((), ())))
    return seen.reshape(*vector.shape[:-1], weight.shape[1])


def _held(value: jax.Array) -> jax.Array:
    return jax.lax.optimization_barrier(value)


def rotate(
    x: Float[Array, "batch position head head_dim"],
    cos: Float[Array, "batch position half"],
    sin: Float[Array, "batch position half"],
) -> Float[Array, "batch position head head_dim"]:
    """Rotary embedding in the half-split layout: coordinate i is paired with i + head_dim/2 (Su et al. 2021)."""
    first, second = jnp.split(x, 2, axis=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
}
