"""Who sees whom, and what each head takes from where: attention as pure functions of arrays."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from landed_jax.nn.config import Scoring
from landed_jax.nn.gradient_rules import secant
from landed_jax.nn.schedule import after, on_cpu
from landed_jax.numerics import narrowed

# At most so many spans of queries, as each is compiled; and none shorter than this.
SPANS, SHORTEST_SPAN = 8, 64
# Queries of the smallest product: for fewer, a loop's own cost is larger than the products'.
FEWEST_QUERIES = 16
# Bytes of scores that may exist at a time. On a CPU they stay near the caches: at 2,048 tokens and 5 M parameters the
# forward pass takes up to a tenth less time so, and smaller products lose a tenth. An accelerator wants larger ones.
CPU_SCORES, ACCELERATOR_SCORES = 2**23, 2**28


def attention_mask(
    mask: Bool[Array, "batch position"], window: int | None = None, queries: jax.Array | None = None, first: int = 0
) -> Bool[Array, "batch query source"]:
    """Which keys each query sees: itself and earlier real tokens, at most `window` positions back.

    Every position sees itself, padding too, so that no row of the softmax is empty.

    Args:
        mask: of the keys, False on padding.
        queries: the columns that ask; by default all.
        first: the column of the first key.
    """
    keys = first + jnp.arange(mask.shape[-1])
    back = (keys if queries is None else queries.astype(keys.dtype))[:, None] - keys[None, :]
    seen = back >= 0 if window is None else (back >= 0) & (back < window)
    return (seen[None] & mask[:, None, :]) | (back == 0)[None]


def attention_pattern(
    q: Float[Array, "batch position head head_dim"],
    k: Float[Array, "batch source kv_head head_dim"],
    visible: Bool[Array, "batch position source"],
    scoring: Scoring,
) -> Float[Array, "batch head position source"]:
    """Softmax of scaled query–key products; head h uses key head h // (heads / key heads) (Ainslie et al. 2023)."""
    scores = _scores(q, k, visible, scoring)
    if scoring.sinks is None:
        return jax.nn.softmax(scores, axis=-1)
    sinks = jnp.broadcast_to(scoring.sinks[None, :, None, None], (*scores.shape[:3], 1))
    return jax.nn.softmax(jnp.concatenate([scores, sinks], axis=-1), axis=-1)[..., :-1]


def _scores(q: jax.Array, k: jax.Array, visible: jax.Array, scoring: Scoring) -> jax.Array:
    """``[batch, head, position, source]``, −∞ where a query does not see a key."""
    batch, length, heads, head_dim = q.shape
    sources, kv_heads = k.shape[1:3]
    # The heads of one key head stand below each other, so that each key head takes one product.
    grouped = jnp.moveaxis(q * scoring.scale, 1, 2).reshape(batch, kv_heads, -1, head_dim)
    keys = jnp.moveaxis(k, 1, 2)
    if scoring.bfloat16:
        grouped, keys = narrowed(grouped), narrowed(keys)
    scores = jnp.einsum("bhqd,bhkd->bhqk", grouped, keys, preferred_element_type=q.dtype)
    scores = scores.reshape(batch, heads, length, sources)
    if scoring.cap is not None:
        capped = functools.partial(_capped, scoring.cap)
        scores = secant(capped, scores) if scoring.secant else capped(scores)
    return jnp.where(visible[:, None], scores, -jnp.inf)


def _capped(cap: float, scores: jax.Array) -> jax.Array:
    return cap * jnp.tanh(scores / cap)


def mix_values(
    pattern: Float[Array, "batch head position source"],
    v: Float[Array, "batch source kv_head head_dim"],
    *,
    bfloat16: bool = False,
) -> Float[Array, "batch position head head_dim"]:
    """z_h = Σ_k A[q,k] v_k, the factor of each head's write."""
    batch, heads, length, sources = pattern.shape
    kv_heads, head_dim = v.shape[2:]
    grouped, values = pattern.reshape(batch, kv_heads, -1, sources), jnp.moveaxis(v, 1, 2)
    if bfloat16:
        grouped, values = narrowed(grouped), narrowed(values)
    z = jnp.einsum("bhqk,bhkd->bhqd", grouped, values, preferred_element_type=v.dtype)
    return jnp.moveaxis(z.reshape(batch, heads, length, head_dim), 1, 2)


def attend(
    q: Float[Array, "batch position head head_dim"],
    k: Float[Array, "batch source kv_head head_dim"],
    v: Float[Array, "batch source kv_head head_dim"],
    mask: Bool[Array, "batch source"],
    scoring: Scoring,
    window: int | None = None,
) -> Float[Array, "batch position head head_dim"]:
    """`mix_values` of `attention_pattern` under `attention_mask`; neither pattern nor mask is ever made whole.

    Queries are taken in spans. None sees a later key, nor one before its window, so a span takes no others: nearly half
    of the work is saved. Where there are fewer queries than keys, they are those of the last columns. Where a span's
    scores are large, its queries are taken in blocks: memory grows with the length, not with its square (but a gradient
    keeps the blocks' weights). The softmax's sum divides what was mixed, which is smaller than the pattern (as in Dao
    et al., FlashAttention, 2022).
    """
    if _span_bytes(q) <= CPU_SCORES:
        return _attend_in_spans(q, k, v, mask, scoring, window, ACCELERATOR_SCORES)

    def small(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
        return _by_key_head(q, k, v, mask, scoring, window, CPU_SCORES)

    def large(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
        return _attend_in_spans(q, k, v, mask, scoring, window, ACCELERATOR_SCORES)

    return on_cpu(small, large, q, k, v, mask)


def _by_key_head(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, scoring: Scoring, window: int | None, limit: int
) -> jax.Array:
    """One key head after another, where there are several: fewer scores exist at a time."""
    batch, length, heads, head_dim = q.shape
    kv_heads = k.shape[2]
    if kv_heads == 1:
        return _attend_in_spans(q, k, v, mask, scoring, window, limit)
    queries = jnp.moveaxis(q.reshape(batch, length, kv_heads, heads // kv_heads, head_dim), 2, 0)
    keys, values = (jnp.moveaxis(x, 2, 0)[:, :, :, None] for x in (k, v))
    sinks = None if scoring.sinks is None else scoring.sinks.reshape(kv_heads, -1)

    def one(part: tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
        q, k, v, sinks = part
        return _attend_in_spans(q, k, v, mask, scoring._replace(sinks=sinks), window, limit, in_turn=True)

    return jnp.moveaxis(jax.lax.map(one, (queries, keys, values, sinks)), 0, 2).reshape(q.shape)


def span_of(length: int) -> int:
    """Queries of one span of a prompt."""
    return max(SHORTEST_SPAN, -(-length // SPANS))


def _span_bytes(q: jax.Array) -> int:
    """Bytes of the largest span's scores."""
    batch, length, heads, _ = q.shape
    return q.dtype.itemsize * batch * heads * span_of(length) * length


def _attend_in_spans(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    scoring: Scoring,
    window: int | None,
    limit: int,
    in_turn: bool = False,
) -> jax.Array:
    """Span after span; `in_turn` also where the spans' scores are below the limit, in bytes."""
    length, size, before = q.shape[1], span_of(q.shape[1]), k.shape[1] - q.shape[1]
    in_turn = in_turn or _span_bytes(q) > limit
    mixed = []
    for start in range(0, length, size):
        end, column = min(start + size, length), before + start
        first = 0 if window is None else max(0, column - window + 1)
        keys, values, real = (x[:, first : before + end] for x in (k, v, mask))
        # Without this dependency XLA may keep the scores of all spans in memory at once; small spans run faster
        # without it.
        queries = after(q[:, start:end], mixed[-1:]) if in_turn else q[:, start:end]
        mixed.append(_attend_in_blocks(queries, keys, values, real, scoring, window, limit, column, first))
    return jnp.concatenate(mixed, axis=1)


def _attend_in_blocks(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    scoring: Scoring,
    window: int | None,
    limit: int,
    start: int,
    first: int,
) -> jax.Array:
    """Queries from column `start` on, to keys from `first` on; as many at a time as their scores allow."""
    batch, length, heads, _ = q.shape
    a_query = q.dtype.itemsize * batch * heads * k.shape[1]
    size = min(max(limit // max(a_query, 1), FEWEST_QUERIES), length)
    size = -(-length // -(-length // size))  # as many blocks, but even ones
    columns = start + jnp.arange(length)
    whole = length // size * size

    def block(part: tuple[jax.Array, jax.Array]) -> jax.Array:
        queries, columns = part
        scores = _scores(queries, k, attention_mask(mask, window, columns, first), scoring)
        # Held fixed: the largest score divides out, and so has no slope.
        largest = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
        if scoring.sinks is None:
            weights = jnp.exp(scores - largest)
            total = jnp.sum(weights, axis=-1, keepdims=True)
        else:
            sinks = scoring.sinks[None, :, None, None]
            largest = jnp.maximum(largest, jax.lax.stop_gradient(sinks))
            weights = jnp.exp(scores - largest)
            total = jnp.sum(weights, axis=-1, keepdims=True) + jnp.exp(sinks - largest)
        return mix_values(weights, v, bfloat16=scoring.bfloat16) / jnp.swapaxes(total, 1, 2)

    if size == length:
        return block((q, columns))
    blocks = jnp.moveaxis(q[:, :whole].reshape(batch, -1, size, *q.shape[2:]), 1, 0)
    mixed = jax.lax.map(block, (blocks, columns[:whole].reshape(-1, size)))
    mixed = jnp.moveaxis(mixed, 0, 1).reshape(batch, whole, *q.shape[2:])
    if whole == length:
        return mixed
    return jnp.concatenate([mixed, block((after(q[:, whole:], mixed), columns[whole:]))], axis=1)
