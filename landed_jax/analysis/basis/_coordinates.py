"""How many coordinates of the landed stream reach parts of a logit."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import landed_stream_at
from landed_jax.analysis.registry import analysis
from landed_jax.errors import LandedError
from landed_jax.numerics import is_concrete
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace

# Sizes, and sums, that differ by so many times the float type's resolution at 1 are equal: rounding moves them as far.
_ROUNDING = 4


@result
class Coordinates(Result):
    """Each coordinate's signed contribution to a value, and the value.

    There are two counts of the coordinates that reach a part of the value, and they answer different questions.
    `count` asks when the sum, taken largest first, *first* reaches that part: one large coordinate may do, though the
    next one takes it back. `settled_count` asks from when on what is left out no longer matters. Both go by size,
    whatever the sign, so another choice of coordinates may reach it with fewer; and a count is low or high only beside
    those in random bases (`rotated_counts`).

    Ties count as ties, so that which side rounding falls on moves no count. With ε the float type's resolution at 1,
    contributions whose sizes differ by at most 4 ε of the larger are of one size, and those that pull towards the value
    come first among them; sums that differ from what they are compared with by at most 4 ε of the root of the sum of
    the squares that made them are equal to it.

    Attributes:
        contributions: ``x_k γ_k u_k / σ``, in units of the value (under LayerNorm of x without its mean).
        value: what they sum to: the model's own number, less a reader's own offset.
    """

    contributions: Float[Array, "batch position d_model"]
    value: Float[Array, "batch position"]

    @property
    def closure_error(self) -> Float[Array, "batch position"]:
        """``|Σ_k contribution_k − value|``, in units of the value."""
        return jnp.abs(jnp.sum(self.contributions, axis=-1) - self.value)

    def count(self, fraction: float) -> Int[Array, "batch position"]:
        """How many coordinates, largest |contribution| first, until their signed sum first reaches a part of the value.

        Args:
            fraction: from 0 to 1.

        Raises:
            LandedError: for a fraction outside 0 to 1.

        >>> c = Coordinates(jnp.array([[[3.0, -2.0, 1.0, 0.5]]]), jnp.array([[2.5]]))
        >>> int(c.count(0.5)[0, 0]), int(c.count(1.0)[0, 0])
        (1, 1)
        """
        check_fraction(fraction)
        return _count(self, fraction)

    def settled_count(self, fraction: float) -> Int[Array, "batch position"]:
        """How many coordinates, largest |contribution| first, until the rest stays small from there on.

        With R_m the signed sum of all but the m largest, it is the smallest n such that
        ``|R_m| ≤ (1 − fraction) |value|`` for *every* m ≥ n. Nothing is left after the last coordinate, so n always
        exists; a larger fraction only tightens the bound, so n never falls as the fraction grows; and while large
        contributions of opposite signs are outstanding, some R_m exceeds the bound, so n waits for them. The first n
        have then reached that part of the value, so `count` is never larger, up to the closure error. For a value of 0
        it is the number of coordinates down to the last whose rest does not vanish.

        Args:
            fraction: from 0 to 1.

        Raises:
            LandedError: for a fraction outside 0 to 1.

        >>> c = Coordinates(jnp.array([[[3.0, -2.0, 1.0, 0.5]]]), jnp.array([[2.5]]))
        >>> int(c.settled_count(0.5)[0, 0]), int(c.settled_count(1.0)[0, 0])
        (3, 4)
        """
        check_fraction(fraction)
        return _settled_count(self, 1 - fraction)

    def largest(self, count: int | Int[Array, "..."]) -> Bool[Array, "batch position d_model"]:
        """Which coordinates are the `count` largest by |contribution|, in the order that the counts go by.

        Of equal size those that pull towards the value come first, then each in its own place.

        Args:
            count: one number, or one a position ``[batch, position]`` (what `count` and `settled_count` give).

        >>> c = Coordinates(jnp.array([[[0.5, -2.0, 1.0]]]), jnp.array([[-0.5]]))
        >>> c.largest(2)
        Array([[[False,  True,  True]]], dtype=bool)
        """
        return _largest(self, jnp.asarray(count))


def _order(found: Coordinates) -> jax.Array:
    """Largest first; of those that are equal to rounding, those towards the value first."""
    by_size = jnp.argsort(-jnp.abs(found.contributions), axis=-1)
    ordered = jnp.take_along_axis(found.contributions, by_size, axis=-1)
    size = jnp.abs(ordered)
    smaller = size[..., 1:] < size[..., :-1] - _rounding(size[..., :-1])
    first = jnp.zeros_like(size[..., :1], dtype=bool)
    group = jnp.cumsum(jnp.concatenate([first, smaller], axis=-1), axis=-1, dtype=jnp.int32)
    back = ordered * jnp.sign(found.value)[..., None] < 0
    return jnp.take_along_axis(by_size, jnp.argsort(2 * group + back.astype(group.dtype), axis=-1), axis=-1)


def _largest_first(found: Coordinates) -> jax.Array:
    return jnp.take_along_axis(found.contributions, _order(found), axis=-1)


def _rounding(size: jax.Array) -> jax.Array:
    """How far rounding may move a number of this size; or a sum, given the root of the sum of its parts' squares."""
    return _ROUNDING * jnp.finfo(size.dtype).eps * size


@jax.jit
def _count(found: Coordinates, fraction: float | jax.Array) -> jax.Array:
    ordered, value = _largest_first(found), found.value[..., None]
    sums = jnp.concatenate([jnp.zeros_like(value), jnp.cumsum(ordered, axis=-1)], axis=-1)
    length = jnp.linalg.norm(ordered, axis=-1, keepdims=True)
    reached = sums * jnp.sign(value) >= fraction * jnp.abs(value) - _rounding(length)
    # An edited pass may leave even the sum of all short of the value: all coordinates always reach it.
    whole = sums.shape[-1] - 1
    return jnp.where(reached.any(axis=-1), jnp.argmax(reached, axis=-1), whole)


@jax.jit
def _settled_count(found: Coordinates, left_out: float | jax.Array) -> jax.Array:
    # Summed from the smallest up: the rest is exactly 0 after the last, and small rests keep their digits.
    ordered, value = _largest_first(found), found.value[..., None]
    axis = ordered.ndim - 1
    rest = jax.lax.cumsum(ordered, axis=axis, reverse=True)
    length = jnp.sqrt(jax.lax.cumsum(jnp.square(ordered), axis=axis, reverse=True))
    outstanding = jnp.abs(rest) > left_out * jnp.abs(value) + _rounding(length + left_out * length[..., :1])
    after = jnp.arange(1, rest.shape[-1] + 1).reshape((1,) * (rest.ndim - 1) + (-1,))
    return jnp.max(jnp.where(outstanding, after, 0), axis=-1)


@jax.jit
def _largest(found: Coordinates, count: jax.Array) -> jax.Array:
    place = jnp.argsort(_order(found), axis=-1)
    return place < jnp.broadcast_to(count, found.value.shape)[..., None]


def check_fraction(fraction: float) -> None:
    """Refuse what is not a part of a value, where it is known.

    Raises:
        LandedError: for a fraction outside 0 to 1.
    """
    if is_concrete(fraction) and not 0 <= fraction <= 1:
        raise LandedError(f"A fraction of the value lies between 0 and 1, not at {fraction}.")


@analysis(bucketed=True)
def coordinates(
    trace: Trace,
    question: QuestionLike = None,
) -> Coordinates:
    """The contribution of every coordinate of the landed stream to a read: ``x_k γ_k u_k / σ``.

    The question is as for `attribute`.

    Raises:
        LandedError: as `attribute` does.

    References:
        Equation: logit = Σ_k (x_k γ_k / σ) W_U[t, k].

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> coordinates(trace.bind(params), 3).contributions.shape
    (1, 3, 8)
    """
    read = resolve(trace, question)
    return Coordinates(landed_stream_at(trace, read.site) * read.vector, read.value - read.offset)
