"""How a scale changes when a part of what it is made of goes, in a form that keeps the digits of small changes."""

import jax
import jax.numpy as jnp

# σ′²/σ² under which the closed form has lost so many digits that σ′ is better taken from what is left.
NEARLY_NOTHING_LEFT = 1 / 4


def change(wx: jax.Array, ww: jax.Array, sigma: jax.Array, d_model: int) -> jax.Array:
    """``δ = σ′²/σ² − 1`` without w, from ``⟨w,x⟩`` and ``⟨w,w⟩``.

    >>> float(change(jnp.array(6.0), jnp.array(4.0), jnp.array(2.0), 4))
    -0.5
    """
    return (ww - 2 * wx) / (d_model * jnp.square(sigma))


def rescale(delta: jax.Array, floor: jax.Array) -> jax.Array:
    """``σ/σ′ − 1 = (1+δ)^−½ − 1``, with 1+δ at least ``ε/σ²``.

    >>> float(rescale(jnp.array(-0.75), jnp.array(0.0)))
    1.0
    """
    # 1/s − 1 = (1 − s²) / (s + s²) with s² = 1 + δ, so that a tiny δ keeps its digits.
    left = jnp.maximum(1 + delta, floor)
    lost = jnp.where(1 + delta > floor, -delta, 1 - floor)
    return lost / (jnp.sqrt(left) + left)
