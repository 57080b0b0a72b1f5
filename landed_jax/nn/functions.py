"""The decoder's mathematics, as pure functions of arrays. Weights come in the checkpoint's layout, outputs first."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from landed_jax.config import Activation
from landed_jax.numerics import left_broadcast


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


def linear(x: Float[Array, "*batch d_in"], weight: Float[Array, "d_out d_in"]) -> Float[Array, "*batch d_out"]:
    """``x Wᵀ``, with the weight cast to the stream's type as it is used."""
    return jax.lax.dot_general(x, weight.astype(x.dtype), (((x.ndim - 1,), (1,)), ((), ())))


def contract_output(
    vector: Float[Array, "*batch d_model"], weight: Float[Array, "d_model d_in"]
) -> Float[Array, "*batch d_in"]:
    """``⟨W[:, j], vector⟩`` for every column j: a vector seen from the inputs of an output matrix."""
    return jax.lax.dot_general(vector, weight.astype(vector.dtype), (((vector.ndim - 1,), (0,)), ((), ())))


def rotate(
    x: Float[Array, "batch position head head_dim"],
    cos: Float[Array, "batch position half"],
    sin: Float[Array, "batch position half"],
) -> Float[Array, "batch position head head_dim"]:
    """Rotary embedding in the half-split layout: coordinate i is paired with i + head_dim/2 (Su et al. 2021)."""
    first, second = jnp.split(x, 2, axis=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention_mask(
    mask: Bool[Array, "batch position"], window: int | None = None
) -> Bool[Array, "batch position position"]:
    """Which keys each query sees: itself and earlier real tokens, at most `window` positions back.

    Every position sees itself, padding too, so that no row of the softmax is empty.
    """
    length = mask.shape[-1]
    index = jnp.arange(length)
    back = index[:, None] - index[None, :]
    seen = back >= 0 if window is None else (back >= 0) & (back < window)
    return (seen[None] & mask[:, None, :]) | (back == 0)[None]


def attention_pattern(
    q: Float[Array, "batch position head head_dim"],
    k: Float[Array, "batch source kv_head head_dim"],
    visible: Bool[Array, "batch position source"],
) -> Float[Array, "batch head position source"]:
    """Softmax of scaled query–key products; head h uses key head h // (heads / key heads) (Ainslie et al. 2023)."""
    batch, length, heads, head_dim = q.shape
    grouped = q.reshape(batch, length, k.shape[2], -1, head_dim)
    scores = jnp.einsum("bqhgd,bkhd->bhgqk", grouped, k) * head_dim**-0.5
    scores = jnp.where(visible[:, None, None], scores, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1).reshape(batch, heads, length, k.shape[1])


def mix_values(
    pattern: Float[Array, "batch head position source"], v: Float[Array, "batch source kv_head head_dim"]
) -> Float[Array, "batch position head head_dim"]:
    """z_h = Σ_k A[q,k] v_k, the factor of each head's write."""
    batch, heads, length, source = pattern.shape
    grouped = pattern.reshape(batch, v.shape[2], -1, length, source)
    return jnp.einsum("bhgqk,bkhd->bqhgd", grouped, v).reshape(batch, length, heads, v.shape[3])


ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
}
