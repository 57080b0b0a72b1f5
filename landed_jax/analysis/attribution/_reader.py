"""A norm's read of the stream, and what it loses with one write: in closed form, and from the vectors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.reads._read import Read, folded, heard_at, sigma_at
from landed_jax.nn.functions import centred
from landed_jax.nn.scale_change import change, rescale
from landed_jax.numerics import left_broadcast
from landed_jax.trace import Trace


class Reader(NamedTuple):
    """The stream that a norm reads, and what is read from it: a value, or (None) its scale alone.

    Attributes:
        stream: without its mean where the norm takes that off.
        floor: ``ε/σ²``.
        value: less the reader's own offset.
        vector: what reads the stream, γ folded in.
        has_norm: whether σ depends on the stream; it is 1 where a block reads the stream itself.
        centres: whether the norm takes off the mean (LayerNorm).
    """

    stream: Float[Array, "batch position d_model"]
    sigma: Float[Array, "batch position"]
    floor: Float[Array, "batch position"]
    value: Float[Array, "batch position"] | None
    vector: Float[Array, "_ _ d_model"] | None
    eps: float
    has_norm: bool
    centres: bool = False

    @classmethod
    def of(cls, trace: Trace, site: str, value: Any = None, vector: Any = None) -> "Reader":
        stream, sigma, config = heard_at(trace, site), sigma_at(trace, site), trace.config
        floor = config.norm_eps / jnp.square(sigma)
        return cls(stream, sigma, floor, value, vector, config.norm_eps, config.has_norm(site), config.norm == "layer")

    def hears(self, written: Float[Array, "_ _ d_model"]) -> Float[Array, "_ _ d_model"]:
        """What the norm sees of a vector that was written."""
        return centred(written) if self.centres else written

    def landed(self, written: Float[Array, "batch position d_model"]) -> Float[Array, "batch position"]:
        """The landed contribution of a vector that was written."""
        assert self.vector is not None
        return jnp.vecdot(written, self.vector) / self.sigma

    def change(self, wx: jax.Array, ww: jax.Array, sigma: jax.Array) -> jax.Array:
        """δ = σ′²/σ² − 1; `sigma` is the read's, shaped like the products."""
        return change(wx, ww, sigma, self.stream.shape[-1]) if self.has_norm else jnp.zeros_like(ww)

    def closed(self, delta: jax.Array, landed: jax.Array | None, many: bool) -> jax.Array:
        """From δ: the closed form. With `many`, for an axis of writes behind the positions'."""

        def beside(number: jax.Array) -> jax.Array:
            return left_broadcast(number[..., None] if many else number, delta)

        lost = rescale(delta, beside(self.floor)) if self.has_norm else jnp.zeros_like(delta)
        return lost if landed is None or self.value is None else (landed - beside(self.value)) * lost

    def exact(self, lost: jax.Array, write: jax.Array | None = None) -> Float[Array, "batch position"]:
        """The same from the stream less a vector.

        Args:
            lost: what leaves the stream, ``[batch, position, d_model]``.
            write: the write itself where that is another vector (`OutputRemoval`): what is between the two is counted.
        """
        left = self.stream - self.hears(lost)
        squares = jnp.mean(jnp.square(left), axis=-1)
        grown = jax.lax.rsqrt(squares / jnp.square(self.sigma) + self.floor) - 1 if self.has_norm else squares * 0
        if self.vector is None:
            return grown
        mediated = -jnp.vecdot(left, self.vector) / self.sigma * grown
        return mediated if write is None else mediated + jnp.vecdot(lost - write, self.vector) / self.sigma


def reader_of(trace: Trace, read: Read) -> Reader:
    """What `layer_mediated` and `embedding_mediated` need of a read."""
    return Reader.of(trace, read.site, read.value - read.offset, folded(trace, read))
