"""Each position's most likely next token, without ever holding the logits of all positions."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.products import columns_of_rows
from landed_jax.nn.schedule import cast_late, on_cpu

# Rows of one product with W_U: enough to be fast, few enough that their logits are small beside W_U itself.
ROWS = 128
# Tokens of a block, where W_U is cast: its product is large enough to be fast, its copy small beside the matrix.
BLOCK = 16384
# The vocabulary is taken as so many runs of tokens, at most. On a mesh that cuts it over a power of two of devices,
# each run lies on one of them, and no row of W_U moves.
RUNS, MOST_RUNS = 128, 256
# And none shorter than this: two numbers a run and position are kept.
SHORTEST_RUN = 32

Best = tuple[jax.Array, jax.Array]


@jax.jit
def top_token(
    normed: Float[Array, "batch position d_model"], W_U: Float[Array, "vocab d_model"]
) -> Int[Array, "batch position"]:
    """The token with the largest logit, the first among equals; one whose logit is not a number comes before all.

    Long prompts are cut along the positions: at most ``max(128, batch)`` rows of logits exist at a time. The batch is
    not cut, so that one spread over devices stays as it lies; where it is larger than that, or where W_U is of another
    type, the vocabulary is cut too, so that neither all logits nor a cast copy of W_U exist. On a mesh that cuts the
    vocabulary each device finds the best of its own tokens, and two numbers a position are compared at the end.

    >>> top_token(jnp.array([[[1.0, 2.0]]]), jnp.array([[3.0, 0.0], [0.0, 2.0], [2.0, 1.0]])).tolist()
    [[1]]
    """
    vocab, runs = len(W_U), _runs(len(W_U))
    tokens = W_U.reshape(runs, vocab // runs, -1)
    if W_U.dtype == normed.dtype and normed.shape[0] <= ROWS:
        best, place = _best(normed, tokens)
    else:
        best, place = on_cpu(_block_by_block, _in_a_loop, normed, tokens)
    token = place + (vocab // runs) * jnp.arange(runs)[:, None, None]
    return jnp.min(jnp.where(best == jnp.max(best, axis=0, keepdims=True), token, vocab), axis=0)


def _runs(vocab: int) -> int:
    """How many runs of equal length: a multiple of the powers of two that divide the vocabulary, up to `RUNS`."""
    halves = math.gcd(vocab, RUNS)
    while halves > 1 and SHORTEST_RUN * halves > vocab:
        halves //= 2
    most = min(MOST_RUNS, vocab // SHORTEST_RUN) // halves
    return halves * max((n for n in range(1, most + 1, 2) if vocab // halves % n == 0), default=1)


def _block_by_block(normed: jax.Array, tokens: Float[Array, "run token d_model"]) -> Best:
    # Unrolled: XLA on a CPU moves the cast of all rows out of a loop.
    found, size = _nothing(normed, tokens), max(BLOCK // len(tokens), 1)
    for first in range(0, tokens.shape[1], size):
        found = _better(found, first, _best(normed, cast_late(tokens[:, first : first + size], found[0])))
    return found


def _in_a_loop(normed: jax.Array, tokens: Float[Array, "run token d_model"]) -> Best:
    length = tokens.shape[1]
    blocks = -(-length // max(BLOCK // len(tokens), 1))
    size = -(-length // blocks)

    def step(found: Best, block: jax.Array) -> tuple[Best, None]:
        first = jnp.minimum(size * block, length - size)  # the last block may hold tokens of the one before
        rows = jax.lax.dynamic_slice_in_dim(tokens, first, size, axis=1)
        return _better(found, first, _best(normed, rows.astype(normed.dtype))), None

    return jax.lax.scan(step, _nothing(normed, tokens), jnp.arange(blocks))[0]


def _nothing(normed: jax.Array, tokens: jax.Array) -> Best:
    """A first token that no logit is below, unless all are −∞."""
    shape = len(tokens), *normed.shape[:2]
    return jnp.full(shape, -jnp.inf, normed.dtype), jnp.zeros(shape, int)


def _better(found: Best, first: int | jax.Array, block: Best) -> Best:
    better = block[0] > found[0]
    return jnp.where(better, block[0], found[0]), jnp.where(better, first + block[1], found[1])


def _best(normed: Float[Array, "batch position d_model"], tokens: Float[Array, "run token d_model"]) -> Best:
    """Of each run the largest logit at each position, and which token's it is, ``[run, batch, position]``.

    What is not a number counts as infinite.
    """
    batch, length, d_model = normed.shape
    runs, size, _ = tokens.shape
    flat_tokens, step = tokens.reshape(-1, d_model), max(ROWS // max(batch, 1), 1)
    whole = length // step * step

    def block(rows: Float[Array, "batch step d_model"]) -> Best:
        logits = columns_of_rows(flat_tokens, rows.reshape(-1, d_model)).reshape(runs, size, -1)
        found = on_cpu(_of_the_best_run, _of_each_run, logits)
        return jax.tree.map(lambda of: of.reshape(runs, batch, -1), found)

    if length <= step:
        return block(normed)
    blocks = jnp.moveaxis(normed[:, :whole].reshape(batch, -1, step, d_model), 1, 0)
    best, place = (jnp.moveaxis(of, 0, 2).reshape(runs, batch, whole) for of in jax.lax.map(block, blocks))
    if whole == length:
        return best, place
    rest = block(normed[:, whole:])
    return jnp.concatenate([best, rest[0]], axis=2), jnp.concatenate([place, rest[1]], axis=2)


def _of_each_run(logits: Float[Array, "run token column"]) -> Best:
    logits, size = _numbers(logits), logits.shape[1]
    best = jnp.max(logits, axis=1)
    return best, jnp.min(jnp.where(logits == best[:, None], jnp.arange(size)[None, :, None], size), axis=1)


def _of_the_best_run(logits: Float[Array, "run token column"]) -> Best:
    """As `_of_each_run`, but of every run that the first best one beats or equals, a place beyond all.

    A CPU finds a plain maximum ten times as fast as where it is, so all logits are searched once, and one run's twice.
    """
    best = jnp.max(_numbers(logits), axis=1)
    first = jnp.argmax(best, axis=0)[None]
    own = jnp.take_along_axis(logits, first[:, None], axis=0)[0]
    place = jnp.argmax(_numbers(own), axis=0)[None]
    return best, jnp.where(jnp.arange(len(best))[:, None] == first, place, logits.size)


def _numbers(logits: jax.Array) -> jax.Array:
    # Said aloud: XLA's maximum on CPU may drop what is not a number.
    return jnp.where(jnp.isnan(logits), jnp.inf, logits)
