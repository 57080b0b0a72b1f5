"""The float type and the matmul precision that everything computes in."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landed_jax.errors import LandedError

P = ParamSpec("P")
R = TypeVar("R")


def compute_dtype(dtype: Any = None) -> jnp.dtype:
    """The type that streams, σ and sums are held in, whatever the weights' type.

    Args:
        dtype: ``float32`` or ``float64``; by default JAX's own default float, which is float32, or float64
            under ``JAX_ENABLE_X64=1``.

    Raises:
        LandedError: for another type, or for float64 while JAX has 64-bit types switched off.

    >>> compute_dtype("float32")
    dtype('float32')
    """
    try:
        wanted = jnp.dtype(jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype)
    except TypeError:
        raise LandedError(f"dtype {dtype!r} is not one to compute in: use float32 or float64.") from None
    if wanted not in (jnp.dtype("float32"), jnp.dtype("float64")):
        raise LandedError(f"dtype {wanted} is not one to compute in: use float32 or float64.")
    if wanted == jnp.dtype("float64") and not jax.config.read("jax_enable_x64"):
        raise LandedError("float64 needs JAX's 64-bit types: set the environment variable JAX_ENABLE_X64=1.")
    return wanted


def highest_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` under ``default_matmul_precision("highest")`` unless the user has chosen a precision.

    TPU's bfloat16 passes and TF32 would be visible in the closure error.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if jax.config.jax_default_matmul_precision is not None:  # pyright: ignore[reportAttributeAccessIssue]
            return function(*args, **kwargs)
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return wrapped


def layer_of(stack: jax.Array, layer: int | jax.Array) -> jax.Array:
    """``stack[layer]``; outside of `jit` by one program for all layers. A view of what NumPy holds stays one."""
    if isinstance(stack, np.ndarray):
        return stack[layer]
    return jax.lax.dynamic_index_in_dim(stack, layer, keepdims=False)


def left_broadcast(value: jax.Array, like: jax.Array) -> jax.Array:
    """Add leading axes of size 1 until `value` has the rank of `like`: rank promotion, said aloud."""
    return value.reshape((1,) * (like.ndim - value.ndim) + value.shape)


def safe_root(square: jax.Array) -> jax.Array:
    """The square root, with slope 0 where there is nothing, so that a gradient passes a vector of zeros.

    >>> float(jax.grad(safe_root)(0.0))
    0.0
    """
    there = square > 0
    return jnp.where(there, jnp.sqrt(jnp.where(there, square, 1)), 0)


def after(value: jax.Array, done: Any) -> jax.Array:
    """The same value, in a program that has `done` before it.

    XLA is free to compute in any order, and on CPU to drop an optimization barrier; whoever wants `done` finished (and
    what it was made of gone) before the value is used needs a dependency that XLA does not see through: nothing is
    below −∞. Under ``vmap`` over `done` alone the value stays one.

    >>> after(jnp.array([1.0, 2.0]), {"any": jnp.array(3), "tree": jnp.array([jnp.nan])})
    Array([1., 2.], dtype=float32)
    """
    leaves = [leaf for leaf in map(jnp.asarray, jax.tree.leaves(done)) if leaf.size]
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            never = _largest(jax.lax.stop_gradient(leaf)) < -jnp.inf
            value = jnp.where(never, jnp.zeros_like(value), value)
    return value


def cast_late(weight: jax.Array, like: jax.Array) -> jax.Array:
    """The weight in the type of `like`, cast when `like` is there and not before.

    A cast waits for nothing, so XLA on CPU makes those of all layers first, and holds a second copy of the model.

    >>> cast_late(jnp.array([1.5], "bfloat16"), jnp.array([1.0]))
    Array([1.5], dtype=float32)
    """
    if weight.dtype == like.dtype or jax.default_backend() != "cpu" or is_concrete(like) or not like.size:
        return weight.astype(like.dtype)
    return _cast_after(weight, jax.lax.stop_gradient(like[..., 0]))


@jax.custom_jvp
def _cast_after(weight: jax.Array, done: jax.Array) -> jax.Array:
    return _from_bits(after(_bits(weight), done), weight.dtype).astype(done.dtype)


@_cast_after.defjvp
def _cast_after_slope(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # Tied like the weight itself: on a mesh both must lie alike.
    return _cast_after(*primals), after(tangents[0].astype(primals[1].dtype), primals[1])


# On CPU XLA knows narrow floats only by casting them, wherever they are touched; whole numbers it leaves.
def _bits(value: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(value, f"uint{8 * value.dtype.itemsize}")


def _from_bits(bits: jax.Array, dtype: Any) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, dtype)


def made_once(function: Callable[[jax.Array], Any], value: jax.Array) -> Any:
    """``function(value)``, computed in one place and kept, however many take it.

    XLA on CPU computes what looks cheap again at each of its uses, and holds what it is made of till the last of them;
    it does not look into a condition. (Under ``vmap`` a condition is a choice, and it may again; outside of ``jit``
    there is nothing to do.)

    >>> made_once(jnp.cumsum, jnp.array([1.0, 2.0]))
    Array([1., 3.], dtype=float32)
    """
    if jax.default_backend() != "cpu" or is_concrete(value) or not value.size:
        return function(value)
    never = jax.lax.stop_gradient(value).ravel()[0] < -jnp.inf

    def nothing(value: jax.Array) -> Any:
        return jax.tree.map(lambda leaf: 0 * leaf, function(value))

    return jax.lax.cond(never, nothing, function, value)


@jax.custom_batching.custom_vmap
def _largest(leaf: jax.Array) -> jax.Array:
    """The largest number of an array: of all batches together under ``vmap``, as it only says *when*."""
    return jnp.max(jnp.real(leaf).astype(jnp.float32))


@_largest.def_vmap
def _largest_of_all(axis_size: int, in_batched: list[bool], leaf: jax.Array) -> tuple[jax.Array, bool]:
    return _largest(leaf) if leaf.size else jnp.zeros(()), False


def is_concrete(value: Any) -> bool:
    """Whether a value is known now, and not a tracer of ``jit``, ``vmap`` or ``grad``: only then can it be checked."""
    return not isinstance(value, Tracer)
