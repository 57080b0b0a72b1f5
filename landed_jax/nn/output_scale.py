"""How what attention or the MLP puts out enters the stream: an output norm, a multiplier, both or neither."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.functions import rms_sigma
from landed_jax.nn.scale_change import NEARLY_NOTHING_LEFT, change, rescale
from landed_jax.numerics import left_broadcast


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OutputScale:
    """From the output y to what is added to the stream: ``factor · γ′ ⊙ y / σ′``, or ``factor · y`` without a norm.

    Linear in y at fixed σ′, so each head's and neuron's output is scaled to its write by itself.

    Attributes:
        sigma, gain: σ′ and γ′ of the output norm; None without one.
        factor: the multiplier (Granite), 1 where there is none.
        eps: the norm's ε.

    >>> scale = OutputScale(jnp.array([[2.0]]), jnp.array([1.0, 3.0]))
    >>> scale.written(jnp.array([[[4.0, 4.0]]])).tolist()
    [[[2.0, 6.0]]]
    """

    sigma: Float[Array, "batch position"] | None = None
    gain: Float[Array, " d_model"] | None = None
    factor: float = dataclasses.field(default=1.0, metadata={"static": True})
    eps: float = dataclasses.field(default=0.0, metadata={"static": True})

    @classmethod
    def of(cls, config: ModelConfig, sigma: jax.Array | None, gain: jax.Array | None) -> "OutputScale":
        """Of one layer's attention or MLP, from what its output norm recorded."""
        return cls(sigma, gain, config.residual_scale, config.norm_eps)

    def times_amount(self, value: Float[Array, "batch position *rest"]) -> Float[Array, "batch position *rest"]:
        """``factor · value / σ′``: what depends on the position."""
        value = value if self.factor == 1 else value * self.factor
        return value if self.sigma is None else value / jnp.expand_dims(self.sigma, tuple(range(2, value.ndim)))

    def times_gain(self, vector: Float[Array, "*at d_model"]) -> Float[Array, "*at d_model"]:
        """``γ′ ⊙ vector``: for an output's product with a vector, the gain can be taken to the vector."""
        return vector if self.gain is None else vector * left_broadcast(self.gain.astype(vector.dtype), vector)

    def lost(self, output: jax.Array, part: jax.Array, rest: jax.Array) -> Float[Array, "batch position d_model"]:
        """What the stream loses without a part of the output: σ′ is then that of the rest, and all of it grows."""
        if self.sigma is None:
            return self.written(part)
        delta = change(jnp.vecdot(part, output), jnp.vecdot(part, part), self.sigma, output.shape[-1])
        closed = rescale(delta, self.eps / jnp.square(self.sigma))
        # Where little is left, the closed form has lost its digits.
        growth = jnp.where(delta < NEARLY_NOTHING_LEFT - 1, self.sigma / rms_sigma(rest, self.eps) - 1, closed)
        return self.written(part - growth[..., None] * rest)

    def of_rest(self, rest: Float[Array, "batch position d_model"]) -> Float[Array, "batch position d_model"]:
        """What the rest of an output adds, σ′ being its own."""
        if self.sigma is None:
            return self.written(rest)
        return self.times_gain(rest) * (self.factor / rms_sigma(rest, self.eps))[..., None]

    def written(self, output: Float[Array, "batch position d_model"]) -> Float[Array, "batch position d_model"]:
        """What an output, or a part of it, adds to the stream."""
        return self.times_amount(self.times_gain(output))
