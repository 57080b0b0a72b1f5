"""The order in which a program computes, and how long it keeps what it computed.

XLA orders a program by itself, and on a CPU it ignores optimization barriers between layers. Each function here has a
plain form, which says nothing of the order: `after(value, done)` is `value`, `cast_late(weight, like)` a cast,
`computed_once(function, value)` a call. The tuned form is taken in programs that are compiled for a CPU, on any
machine. With the environment variable ``LANDED_PLAIN=1``, read at import, the plain forms are taken everywhere.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from landed_jax.numerics import is_concrete

PLAIN = os.environ.get("LANDED_PLAIN") == "1"


def on_cpu(tuned: Callable[..., Any], plain: Callable[..., Any], *args: Any) -> Any:
    """``tuned(*args)`` in a program compiled for a CPU; ``plain(*args)`` in any other, and under ``LANDED_PLAIN=1``.

    The choice is made when the program is lowered, by the platform that it is lowered for.

    >>> doubled = on_cpu(lambda x: x + x, lambda x: 2 * x, jnp.array(2.0))
    >>> float(doubled)
    4.0
    """
    return plain(*args) if PLAIN else jax.lax.platform_dependent(*args, cpu=tuned, default=plain)


def after(value: jax.Array, done: Any) -> jax.Array:
    """The same value, in a program that computes `done` first.

    With it, what `done` was computed from can be freed before `value` is used. The plain form is `value`. The tuned
    form selects `value` unless a number of `done` is below −∞, which none is and XLA does not see. Under ``vmap`` over
    `done` alone the value is not batched.

    >>> after(jnp.array([1.0, 2.0]), {"any": jnp.array(3), "tree": jnp.array([jnp.nan])})
    Array([1., 2.], dtype=float32)
    """
    return value if PLAIN else wait_for(never_of(done), value)


def for_second_pass(ids: jax.Array, first: Any) -> jax.Array:
    """The same token ids, for a second run of the model in one program after `first` was computed by the first run.

    Common-subexpression elimination would otherwise merge the two runs, and keep every layer's values for the second.
    """
    return after(ids, first)


def cast_late(weight: jax.Array, like: jax.Array) -> jax.Array:
    """The weight in the type of `like`, cast once `like` is computed.

    The plain form is the cast. XLA on a CPU does it for all layers at the start of the program, and so holds a second
    copy of the model.

    >>> cast_late(jnp.array([1.5], "bfloat16"), jnp.array([1.0]))
    Array([1.5], dtype=float32)
    """

    def plain(weight: jax.Array, done: jax.Array) -> jax.Array:
        # Selected by a constant: under shard_map both forms must vary over the same axes of the mesh.
        return wait_for(_constant(done), weight.astype(done.dtype))

    if PLAIN or weight.dtype == like.dtype or is_concrete(like) or not like.size:
        return weight.astype(like.dtype)
    return on_cpu(_cast_after, plain, weight, jax.lax.stop_gradient(like[..., 0]))


def computed_once(function: Callable[[jax.Array], Any], value: jax.Array) -> Any:
    """``function(value)``, computed in one place and kept for all of its uses.

    The plain form is the call. XLA on a CPU recomputes what looks cheap at every use, and holds its inputs until the
    last of them; it does not look into a condition. (Under ``vmap`` a condition becomes a selection, and XLA may
    recompute; outside of ``jit`` there is nothing to do.)

    >>> computed_once(jnp.cumsum, jnp.array([1.0, 2.0]))
    Array([1., 3.], dtype=float32)
    """

    def nothing(value: jax.Array) -> Any:
        return jax.tree.map(lambda leaf: 0 * leaf, function(value))

    def in_a_condition(value: jax.Array) -> Any:
        never = jax.lax.stop_gradient(value).ravel()[0].astype(jnp.float32) < -jnp.inf
        return jax.lax.cond(never, nothing, function, value)

    if is_concrete(value) or not value.size:
        return function(value)
    return on_cpu(in_a_condition, function, value)


def wait_for(never: jax.Array | None, value: jax.Array) -> jax.Array:
    """The same value, computed after a flag of `never_of`."""
    return value if never is None else jnp.where(never, jnp.zeros_like(value), value)


def never_of(done: Any) -> jax.Array | None:
    """A flag that is False, once all of `done` is computed; None where there is nothing to wait for."""
    leaves = [leaf for leaf in map(jnp.asarray, jax.tree.leaves(done)) if leaf.size]
    flags = [
        _below_all(jax.lax.stop_gradient(leaf))
        for leaf in leaves
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    ]
    return None if not flags else flags[0] if len(flags) == 1 else jnp.any(jnp.stack(flags))


@jax.custom_batching.custom_vmap
def _below_all(leaf: jax.Array) -> jax.Array:
    """Whether the largest number of an array, of all batches together under ``vmap``, is below −∞."""

    def compared(leaf: jax.Array) -> jax.Array:
        return jnp.max(jnp.real(leaf).astype(jnp.float32)) < -jnp.inf

    return on_cpu(compared, _constant, leaf)


def _constant(leaf: jax.Array) -> jax.Array:
    """False, from no number of the array."""
    return jnp.any(leaf.ravel()[:0] != leaf.ravel()[:0])


@_below_all.def_vmap
def _below_all_of_all(axis_size: int, in_batched: list[bool], leaf: jax.Array) -> tuple[jax.Array, bool]:
    return _below_all(leaf) if leaf.size else jnp.zeros((), bool), False


@jax.custom_jvp
def _cast_after(weight: jax.Array, done: jax.Array) -> jax.Array:
    return _from_bits(after(_bits(weight), done), weight.dtype).astype(done.dtype)


@_cast_after.defjvp
def _cast_after_slope(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # Tied like the weight itself: on a mesh both must lie alike.
    return _cast_after(*primals), after(tangents[0].astype(primals[1].dtype), primals[1])


# On a CPU XLA casts narrow floats wherever they are touched, and leaves whole numbers as they are.
def _bits(value: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(value, f"uint{8 * value.dtype.itemsize}")


def _from_bits(bits: jax.Array, dtype: Any) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, dtype)
