"""The control for counts of coordinates: the same counts in bases that the model knows nothing of."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from landed_jax.analysis.basis._coordinates import Coordinates, check_fraction
from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read, landed_stream_at
from landed_jax.analysis.registry import analysis
from landed_jax.errors import LandedError
from landed_jax.numerics import highest_precision
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class RotatedCounts(Result):
    """Counts of coordinates in randomly rotated bases, one sample a rotation.

    Attributes:
        first: `Coordinates.count` for each of `fractions`.
        settled: `Coordinates.settled_count` for each of `fractions`.
        closure_error: how far each rotation's contributions are from summing to the value, in units of the value.
        fractions: the parts of the value that were asked for.
    """

    first: Int[Array, "rotation fraction batch position"]
    settled: Int[Array, "rotation fraction batch position"]
    closure_error: Float[Array, "rotation batch position"]
    fractions: tuple[float, ...] = dataclasses.field(metadata={"static": True})

    @property
    def samples(self) -> int:
        """How many rotations were drawn."""
        return self.first.shape[-4]  # from the right, as vmap adds axes on the left

    @property
    def first_mean(self) -> Float[Array, "fraction batch position"]:
        return jnp.mean(self.first, axis=-4)

    @property
    def first_spread(self) -> Float[Array, "fraction batch position"]:
        """Sample standard deviation over the rotations (divided by their number less one)."""
        return jnp.std(self.first, axis=-4, ddof=1)

    @property
    def settled_mean(self) -> Float[Array, "fraction batch position"]:
        return jnp.mean(self.settled, axis=-4)

    @property
    def settled_spread(self) -> Float[Array, "fraction batch position"]:
        """Sample standard deviation over the rotations (divided by their number less one)."""
        return jnp.std(self.settled, axis=-4, ddof=1)


@highest_precision
@partial(jax.jit, static_argnames=("size", "dtype"))
def random_rotation(key: Key[Array, ""], size: int, dtype: jnp.dtype | None = None) -> Float[Array, "size size"]:
    """An orthogonal matrix drawn evenly from all of them (Haar measure), reflections included.

    The Q of a Gaussian matrix's QR decomposition, its columns' signs fixed by R's diagonal: without that the draw
    depends on the decomposition's own convention.

    References:
        Mezzadri, How to generate random matrices from the classical compact groups, 2007.

    >>> Q = random_rotation(jax.random.key(0), 5)
    >>> bool(jnp.allclose(Q @ Q.T, jnp.eye(5), atol=1e-6))
    True
    """
    Q, R = jnp.linalg.qr(jax.random.normal(key, (size, size), dtype))
    return Q * jnp.where(jnp.diagonal(R) < 0, -1, 1).astype(Q.dtype)[None]


@analysis(example=lambda trace: {"key": jax.random.key(0), "rotations": 2})
def rotated_counts(
    trace: Trace,
    question: QuestionLike = None,
    *,
    key: Key[Array, ""],
    rotations: int = 8,
    fractions: Sequence[float] = (0.5, 0.9, 0.99),
) -> RotatedCounts:
    """How many coordinates carry a value when the basis is a random one.

    The landed stream and the read's vector are turned by the same random rotation Q: the value stays,
    ``⟨Qᵀx, Qᵀu⟩ = ⟨x, u⟩``, but its parts are now those of coordinates that mean nothing to the model. Only where the
    model's own counts lie clearly below these do they say something about its coordinates, and not just about the
    shares that any two vectors' products fall into.

    Args:
        question: as for `attribute`.
        key: a random key; the same key draws the same rotations.
        rotations: how many to draw, at least 2 for a spread. One ``[d_model, d_model]`` is alive at a time.
        fractions: parts of the value, from 0 to 1.

    Raises:
        LandedError: for fewer than 2 rotations, a fraction outside 0 to 1, and what `attribute` refuses.

    References:
        Elhage et al., Privileged Bases in the Transformer Residual Stream, 2023.

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> control = rotated_counts(trace.bind(params), 3, key=jax.random.key(1))
    >>> control.samples, control.settled_mean.shape
    (8, (3, 1, 3))
    """
    if rotations < 2:
        raise LandedError(f"{rotations} rotation(s) have no spread: draw at least 2.")
    if not fractions:
        raise LandedError("Say which parts of the value are asked for: fractions= is empty.")
    for fraction in fractions:
        check_fraction(fraction)
    read = resolve(trace, question)
    keys = jax.random.split(key, rotations)
    return _rotated_counts(landed_stream_at(trace, read.site), read, keys, tuple(fractions))


@partial(jax.jit, static_argnums=3)
def _rotated_counts(
    landed: Float[Array, "batch position d_model"],
    read: Read,
    keys: Key[Array, " rotation"],
    fractions: tuple[float, ...],
) -> RotatedCounts:
    def one(key: Key[Array, ""]) -> tuple[jax.Array, jax.Array, jax.Array]:
        Q = random_rotation(key, landed.shape[-1], landed.dtype)
        turned = Coordinates((landed @ Q) * (read.vector @ Q), read.value - read.offset)
        first = jnp.stack([turned.count(fraction) for fraction in fractions])
        settled = jnp.stack([turned.settled_count(fraction) for fraction in fractions])
        return first, settled, turned.closure_error

    return RotatedCounts(*jax.lax.map(one, keys), fractions=fractions)
