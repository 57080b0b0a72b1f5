"""What removing one write does to a logit, σ recomputed and the rest of the network left as it ran."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def direct_effect(
    landed: Float[Array, "*#shape"],
    value: Float[Array, "*#shape"],
    write_dot_stream: Float[Array, "*#shape"],
    write_dot_write: Float[Array, "*#shape"],
    sigma: Float[Array, "*#shape"],
    d_model: int,
    eps: float,
) -> Float[Array, "*#shape"]:
    """Logit minus the logit without the write, in closed form.

    Without w the stream's scale is σ′² = σ² − 2⟨w,x⟩/d + ⟨w,w⟩/d, and the logit is (value − landed) σ/σ′. With
    δ = σ′²/σ² − 1 the effect is landed (1+δ)^−½ + value (1 − (1+δ)^−½), written with log1p and expm1 because δ is
    tiny for most writes. σ′² is never below ε, as for a stream that the write makes up alone.

    >>> float(direct_effect(jnp.array(1.0), jnp.array(2.0), jnp.array(0.0), jnp.array(0.0), jnp.array(3.0), 4, 0.0))
    1.0
    """
    variance = jnp.square(sigma)
    delta = (write_dot_write - 2 * write_dot_stream) / (d_model * variance)
    # Near δ = −1 it is 1 + δ that float subtraction gives exactly; log1p would make of a rounded −1 an infinity.
    little = jnp.log(jnp.maximum(1 + delta, eps / variance))
    lost = jnp.expm1(-0.5 * jnp.where(delta > -0.5, jnp.log1p(jnp.maximum(delta, -0.5)), little))  # σ/σ′ − 1
    return landed + (landed - value) * lost


def sigma_share(
    write_dot_stream: Float[Array, "*#shape"], sigma: Float[Array, "*#shape"], d_model: int
) -> Float[Array, "*#shape"]:
    """``⟨w,x⟩ / (d σ²)``: the write's part of the stream's σ². Over all writes it sums to 1 − ε/σ².

    >>> float(sigma_share(jnp.array(8.0), jnp.array(2.0), 4))
    0.5
    """
    return write_dot_stream / (d_model * jnp.square(sigma))
