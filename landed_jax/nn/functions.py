"""The decoder's mathematics, as pure functions of arrays. Weights come in the checkpoint's layout, outputs first."""

import math
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


# Rows up to which XLA's products on CPU are faster with the weight first: at 32 rows in half the time, at 256 no more.
FEW_ROWS = 128
# At most so many blocks of queries, as each is compiled; and none shorter than this.
BLOCKS, SHORTEST_BLOCK = 8, 64
# Bytes of a block's scores above which a CPU goes through the key heads in turn: at 2,048 tokens and 5 M parameters up
# to a tenth less time and half the memory for the forward pass. Smaller scores stay in the caches, and lose a tenth.
LARGE_SCORES = 2**23


def linear(x: Float[Array, "*batch d_in"], weight: Float[Array, "d_out d_in"]) -> Float[Array, "*batch d_out"]:
    """``x Wᵀ``, with the weight cast to the stream's type as it is used."""
    weight = weight.astype(x.dtype)
    if jax.default_backend() != "cpu" or math.prod(x.shape[:-1]) > FEW_ROWS:
        return jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    written = jax.lax.dot_general(weight, x, (((1,), (x.ndim - 1,)), ((), ())))
    # The barriers keep XLA from turning the product round again.
    return _held(jnp.moveaxis(_held(written), 0, -1))


def contract_output(
    vector: Float[Array, "*batch d_model"], weight: Float[Array, "d_model d_in"]
) -> Float[Array, "*batch d_in"]:
    """``⟨W[:, j], vector⟩`` for every column j: a vector seen from the inputs of an output matrix."""
    weight = weight.astype(vector.dtype)
    if jax.default_backend() != "cpu":
        return jax.lax.dot_general(vector, weight, (((vector.ndim - 1,), (0,)), ((), ())))
    # On CPU both are read along their first axis, which takes down to half the time. XLA turns that round again unless
    # the vectors are one plain matrix, held as it stands.
    rows = vector.reshape(-1, vector.shape[-1])
    seen = jax.lax.dot_general(_held(rows.T), weight, (((0,), (0,)), ((), ())))
    return seen.reshape(*vector.shape[:-1], -1)


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
    return jax.nn.softmax(_scores(q, k, visible), axis=-1)


def _scores(q: jax.Array, k: jax.Array, visible: jax.Array) -> jax.Array:
    """``[batch, head, position, source]``, −∞ where a query does not see a key."""
    batch, length, heads, head_dim = q.shape
    sources, kv_heads = k.shape[1:3]
    # The heads of one key head stand below each other, so that each key head takes one product.
    grouped = jnp.moveaxis(q * head_dim**-0.5, 1, 2).reshape(batch, kv_heads, -1, head_dim)
    scores = jnp.einsum("bhqd,bhkd->bhqk", grouped, jnp.moveaxis(k, 1, 2)).reshape(batch, heads, length, sources)
    return jnp.where(visible[:, None], scores, -jnp.inf)


def mix_values(
    pattern: Float[Array, "batch head position source"], v: Float[Array, "batch source kv_head head_dim"]
) -> Float[Array, "batch position head head_dim"]:
    """z_h = Σ_k A[q,k] v_k, the factor of each head's write."""
    batch, heads, length, sources = pattern.shape
    kv_heads, head_dim = v.shape[2:]
    grouped = pattern.reshape(batch, kv_heads, -1, sources)
    z = jnp.einsum("bhqk,bhkd->bhqd", grouped, jnp.moveaxis(v, 1, 2))
    return jnp.moveaxis(z.reshape(batch, heads, length, head_dim), 1, 2)


def attend(
    q: Float[Array, "batch position head head_dim"],
    k: Float[Array, "batch position kv_head head_dim"],
    v: Float[Array, "batch position kv_head head_dim"],
    visible: Bool[Array, "batch position position"],
) -> Float[Array, "batch position head head_dim"]:
    """`mix_values` of `attention_pattern`, the pattern never made whole: a block of queries after another.

    No query sees a later key, so a block takes the keys up to its own end: nearly half of the work is saved. The
    softmax's sum divides what was mixed, which is smaller than the pattern (as in Dao et al., FlashAttention, 2022).
    Where the scores are large, a CPU goes through the key heads in turn.
    """
    batch, length, heads, head_dim = q.shape
    kv_heads = k.shape[2]
    scores = q.dtype.itemsize * batch * heads * _block_size(length) * length
    if jax.default_backend() != "cpu" or kv_heads == 1 or scores <= LARGE_SCORES:
        return _attend_in_blocks(q, k, v, visible)
    queries = jnp.moveaxis(q.reshape(batch, length, kv_heads, heads // kv_heads, head_dim), 2, 0)
    keys, values = (jnp.moveaxis(x, 2, 0)[:, :, :, None] for x in (k, v))

    def one(part: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return _attend_in_blocks(part[0], part[1], part[2], visible)

    return jnp.moveaxis(jax.lax.map(one, (queries, keys, values)), 0, 2).reshape(q.shape)


def _block_size(length: int) -> int:
    return max(SHORTEST_BLOCK, -(-length // BLOCKS))


def _attend_in_blocks(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array) -> jax.Array:
    length, size = q.shape[1], _block_size(q.shape[1])
    ends = [min(start + size, length) for start in range(0, length, size)]

    def block(start: int, end: int) -> jax.Array:
        scores = _scores(q[:, start:end], k[:, :end], visible[:, start:end, :end])
        # Held fixed: the largest score divides out, and so has no slope.
        weights = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
        return mix_values(weights, v[:, :end]) / jnp.swapaxes(jnp.sum(weights, axis=-1), 1, 2)[..., None]

    return jnp.concatenate([block(start, end) for start, end in zip([0, *ends], ends, strict=False)], axis=1)


ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
}
