"""Each position's most likely next token, without ever holding the logits of all positions."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.products import columns_of_rows
from landed_jax.nn.vocabulary_blocks import over_vocabulary

# Rows of one product with W_U: enough to be fast, few enough that their logits are small beside W_U itself.
ROWS = 128
# Tokens that are searched together, the largest number up to this that divides the vocabulary.
TOGETHER = 256


@jax.jit
def top_token(
    normed: Float[Array, "batch position d_model"], W_U: Float[Array, "vocab d_model"]
) -> Int[Array, "batch position"]:
    """The token with the largest logit, the first among equals; one whose logit is not a number comes before all.

    Long prompts are cut along the positions: at most ``max(128, batch)`` rows of logits exist at a time. The batch is
    not cut, so that one spread over devices stays as it lies; where it is larger than that, or where W_U is of another
    type, the vocabulary is cut too, so that neither all logits nor a cast copy of W_U exist.

    >>> top_token(jnp.array([[[1.0, 2.0]]]), jnp.array([[3.0, 0.0], [0.0, 2.0], [2.0, 1.0]])).tolist()
    [[1]]
    """
    batch, length, _ = normed.shape
    if W_U.dtype == normed.dtype and batch <= ROWS:
        return _top_of(normed, W_U)[1]

    def step(best: tuple[jax.Array, jax.Array], first: int, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        logit, token = _top_of(normed, rows)
        better = logit > best[0]
        return jnp.where(better, logit, best[0]), jnp.where(better, first + token, best[1])

    # A first token that no logit is below, unless all are −∞.
    nothing = jnp.full((batch, length), -jnp.inf, normed.dtype), jnp.zeros((batch, length), int)
    return over_vocabulary(step, nothing, W_U)[1]


def _top_of(normed: Float[Array, "batch position d_model"], W_U: Float[Array, "token d_model"]) -> Any:
    """The largest logit at each position, and which row's it is; what is not a number counts as infinite."""
    batch, length, d_model = normed.shape
    step = max(ROWS // max(batch, 1), 1)
    whole = length // step * step

    def block(rows: Float[Array, "batch step d_model"]) -> Any:
        flat = rows.reshape(-1, d_model)
        logits = columns_of_rows(W_U, flat)
        # Said aloud: XLA's maximum on CPU may drop what is not a number.
        logits = jnp.where(jnp.isnan(logits), jnp.inf, logits)
        token = _largest_row(logits)
        logit = jnp.take_along_axis(logits, token[None], axis=0)
        return logit.reshape(batch, -1), token.reshape(batch, -1)

    if length <= step:
        return block(normed)
    blocks = jnp.moveaxis(normed[:, :whole].reshape(batch, -1, step, d_model), 1, 0)
    found = jax.tree.map(lambda of: jnp.moveaxis(of, 0, 1).reshape(batch, whole), jax.lax.map(block, blocks))
    if whole == length:
        return found
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), found, block(normed[:, whole:]))


def _largest_row(logits: Float[Array, "vocab column"]) -> Int[Array, " column"]:
    """``argmax`` along the first axis, in two steps: a plain maximum runs ten times as fast on CPU."""
    vocab, columns = logits.shape
    size = max(n for n in range(1, TOGETHER + 1) if vocab % n == 0)
    groups = jnp.max(logits.reshape(-1, size, columns), axis=1)
    first = size * jnp.argmax(groups, axis=0)
    rows = first[None] + jnp.arange(size)[:, None]
    return first + jnp.argmax(jnp.take_along_axis(logits, rows, axis=0), axis=0)
