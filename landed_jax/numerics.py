"""The float type and the matmul precision that everything computes in."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landed_jax.errors import LandedError, shown

PRECISIONS = ("float32", "bfloat16", "float64")

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
        narrow = ", or precision='bfloat16' for products of bfloat16 factors" if wanted == jnp.dtype("bfloat16") else ""
        raise LandedError(f"dtype {wanted} is not one to compute in: use float32 or float64{narrow}.")
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


def narrowed(x: jax.Array, *, keep_type: bool = False) -> jax.Array:
    """Rounded to bfloat16, to the nearest and ties to even.

    XLA may drop a cast there and back, which on a CPU is all that products of bfloat16 are; it keeps this rounding.

    Args:
        keep_type: the rounded numbers in the type of x.

    >>> float(narrowed(jnp.float32(1 + 2**-7 + 2**-8))), narrowed(jnp.ones(2)).dtype
    (1.015625, dtype(bfloat16))
    """
    if x.dtype == jnp.bfloat16:
        return x
    rounded = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
    return rounded if keep_type else rounded.astype(jnp.bfloat16)


def precision_of(bfloat16_products: bool, dtype: Any) -> str:
    """The name of the policy that numbers of a type were computed under.

    >>> precision_of(False, "float64"), precision_of(True, "float32")
    ('float64', 'bfloat16')
    """
    return "bfloat16" if bfloat16_products else np.dtype(dtype).name


def check_precision(precision: Any) -> None:
    """Refuse what is no policy, or none under the type that JAX computes in.

    Raises:
        LandedError: saying which there are, or what to set.

    >>> check_precision("float16")
    Traceback (most recent call last):
    landed_jax.errors.LandedError: precision='float16' is not one of float32, bfloat16, float64.
    """
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise LandedError(f"precision={shown(precision)} is not one of {', '.join(PRECISIONS)}.")
    if precision == "float64":
        compute_dtype("float64")
    elif precision == "float32" and compute_dtype() != jnp.dtype("float32"):
        raise LandedError(
            "precision='float32' is not what JAX_ENABLE_X64=1 computes in: unset it, or give dtype='float32' to a call."
        )


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

    What is not a number stays so.

    >>> float(jax.grad(safe_root)(0.0)), float(safe_root(jnp.nan))
    (0.0, nan)
    """
    nothing = square <= 0
    return jnp.where(nothing, 0, jnp.sqrt(jnp.where(nothing, 1, square)))


def whole_number(value: object) -> bool:
    """Whether a value is a whole number, Python's or NumPy's; True and False are none.

    >>> [whole_number(value) for value in (2, np.int64(2), 2.0, True)]
    [True, True, False, False]
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_concrete(value: Any) -> bool:
    """Whether a value is known now, and not a tracer of ``jit``, ``vmap`` or ``grad``: only then can it be checked."""
    return not isinstance(value, Tracer)
