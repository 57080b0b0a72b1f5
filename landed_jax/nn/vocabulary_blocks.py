"""The unembedding's rows, a block of tokens after another: a large vocabulary is never cast whole."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.schedule import cast_late

Carry = TypeVar("Carry")
# Tokens of a block: its product is large enough to be fast, its copy small beside the matrix.
BLOCK = 16384


def over_vocabulary(
    step: Callable[[Carry, int, Float[Array, "token d_model"]], Carry],
    carry: Carry,
    W_U: Float[Array, "vocab d_model"],
) -> Carry:
    """``carry = step(carry, first, rows)`` for each block of rows, in the type of the carry's first leaf.

    `first` is the first row's token. The loop is unrolled: XLA on a CPU moves the cast of all rows out of a scan.

    >>> float(over_vocabulary(lambda n, first, rows: n + len(rows), jnp.zeros(1), jnp.zeros((20_000, 2)))[0])
    20000.0
    """
    for first in range(0, len(W_U), BLOCK):
        carry = step(carry, first, cast_late(W_U[first : first + BLOCK], jax.tree.leaves(carry)[0]))
    return carry


def mean_row(W_U: Float[Array, "vocab d_model"], dtype: Any) -> Float[Array, " d_model"]:
    """The mean over the vocabulary.

    >>> mean_row(jnp.array([[1.0, 2.0], [3.0, 6.0]], jnp.bfloat16), "float32")
    Array([2., 4.], dtype=float32)
    """
    zero = jnp.zeros(W_U.shape[1], dtype)
    return over_vocabulary(lambda total, first, rows: total + jnp.sum(rows, axis=0), zero, W_U) / len(W_U)
