"""The decoder's mathematics without weights, as pure functions of arrays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.config import Activation, ModelConfig
from landed_jax.nn.gradient_rules import PLAIN, GradientRules, halved, with_slope_of
from landed_jax.numerics import left_broadcast


def rms_sigma(x: Float[Array, "*batch d_model"], eps: float) -> Float[Array, "*batch"]:
    """σ = sqrt(mean(x²) + ε), the root mean square that RMSNorm divides by (Zhang & Sennrich 2019, eq. 4).

    >>> float(rms_sigma(jnp.array([1.0, 7.0]), 0.0))
    5.0
    """
    return jnp.sqrt(jnp.mean(jnp.square(x), axis=-1) + eps)


def centred(x: jax.Array, axis: int = -1) -> jax.Array:
    """Vectors less the mean of their coordinates, which lie along `axis`.

    >>> centred(jnp.array([1.0, 7.0]))
    Array([-3.,  3.], dtype=float32)
    """
    return x - jnp.mean(x, axis=axis, keepdims=True)


def heard(x: Float[Array, "*batch d_model"], config: ModelConfig) -> Float[Array, "*batch d_model"]:
    """What the norms of a model see of vectors: LayerNorm (Ba et al. 2016) nothing of their mean, RMSNorm all.

    Taking off the mean is symmetric, ``⟨centred(w), v⟩ = ⟨w, centred(v)⟩``: either side will do.
    """
    return centred(x) if config.norm == "layer" else x


def scale_stream(
    x: Float[Array, "*batch d_model"], sigma: Float[Array, "*batch"], gamma: Float[Array, " d_model"]
) -> Float[Array, "*batch d_model"]:
    """``x / σ ⊙ γ``: RMSNorm of the stream, and the landed form of any vector that is written to it.

    LayerNorm is the same of the `centred` stream, with a bias added to the sum.
    """
    return x / sigma[..., None] * left_broadcast(gamma, x)


def rotate(
    x: Float[Array, "batch position head head_dim"],
    cos: Float[Array, "batch position half"],
    sin: Float[Array, "batch position half"],
) -> Float[Array, "batch position head head_dim"]:
    """Rotary embedding in the half-split layout: coordinate i is paired with i + half (Su et al. 2021).

    Coordinates from 2 · half on are left as they are.
    """
    half = cos.shape[-1]
    first, second, rest = jnp.split(x, [half, 2 * half], axis=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    turned = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate([*turned, rest] if rest.size else turned, axis=-1)


_CLAMP = 7.0  # of clamped_swiglu


def gated(activation: Activation, gate: jax.Array, up: jax.Array, rules: GradientRules = PLAIN) -> jax.Array:
    """The activation of a neuron with a gate: ``act(gate) · up``; of gpt-oss's kind clamped, and with up + 1."""
    if activation != "clamped_swiglu":
        return rules.factor(rules.curve(ACTIVATIONS[activation])(gate)) * rules.factor(up)
    gate, up = rules.curve(_clamped_gelu)(gate), rules.curve(_clamped)(up)
    if not rules.products:
        return gate * (up + 1)
    # The 1 has no part in what the product is worth: of gate · up each factor has half, and gate · 1 is the gate's.
    return with_slope_of(gate * (up + 1), halved(gate) * halved(up) + gate)


def _clamped_gelu(gate: jax.Array) -> jax.Array:
    return ACTIVATIONS["quick_gelu"](jnp.minimum(gate, _CLAMP))


def _clamped(up: jax.Array) -> jax.Array:
    return jnp.clip(up, -_CLAMP, _CLAMP)


ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    # GPT-NeoX's: the tanh form with its constant written out to ten digits.
    "gelu_fast": lambda x: 0.5 * x * (1 + jnp.tanh(0.7978845608 * x * (1 + 0.044715 * x * x))),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
}
