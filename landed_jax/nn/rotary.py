"""Rotary frequencies for every supported kind of scaling, and the cos and sin tables made from them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.rope_config import RopeConfig
from landed_jax.nn.schedule import computed_once


def _plain(theta: float, dim: int) -> np.ndarray:
    return theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)


def _llama3(rope: RopeConfig, dim: int) -> np.ndarray:
    # Llama 3.1: long wavelengths are divided by the factor, short ones kept, those between blended.
    frequency = _plain(rope.theta, dim)
    turns = rope.original_max_positions * frequency / (2 * math.pi)
    blend = np.clip((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0, 1)
    return frequency * (blend + (1 - blend) / rope.factor)


def _yarn(rope: RopeConfig, dim: int) -> np.ndarray:
    # YaRN (Peng et al. 2023, section 3.2): a ramp over the dimensions between beta_fast and beta_slow turns.
    def dimension(turns: float) -> float:
        return dim * math.log(rope.original_max_positions / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    interpolated = np.clip((np.arange(dim // 2) - low) / (high - low), 0, 1)
    return _plain(rope.theta, dim) * (1 - interpolated + interpolated / rope.factor)


def rotary_frequencies(
    rope: RopeConfig, dim: int, max_positions: int, length: Int[Array, " batch"], dtype: jnp.dtype
) -> Float[Array, "#batch half"]:
    """Radians per position of each rotated pair.

    Args:
        dim: coordinates of each head that are rotated.
        length: tokens in each prompt, padding not counted; only dynamic and longrope scaling look at it.

    Returns:
        ``[batch, dim / 2]``, or ``[1, dim / 2]`` where every prompt has the same. The fixed kinds are
        computed in float64 and rounded once.
    """
    if rope.kind == "dynamic":
        # NTK by length: theta grows by (factor · n / max − (factor − 1)) ^ (dim / (dim − 2)). Written as
        # 1 + factor · (n − max) / max, and in logarithms: in the usual form a large factor cancels or overflows.
        beyond = jnp.maximum(length - max_positions, 0).astype(dtype) / max_positions
        growth = jnp.logaddexp(jnp.zeros_like(beyond), math.log(rope.factor) + jnp.log(beyond))
        exponent = jnp.asarray(-np.arange(0, dim, 2) / (dim - 2), dtype)
        plain = jnp.asarray(_plain(rope.theta, dim), dtype)
        return plain[None] * jnp.exp(exponent[None] * growth[:, None])
    if rope.kind == "longrope":
        short, long = (_plain(rope.theta, dim) / np.array(list) for list in (rope.short_factors, rope.long_factors))
        is_long = length > rope.original_max_positions
        return jnp.where(is_long[:, None], jnp.asarray(long, dtype), jnp.asarray(short, dtype))
    if rope.kind == "llama3":
        frequency = _llama3(rope, dim)
    elif rope.kind == "yarn":
        frequency = _yarn(rope, dim)
    else:
        frequency = _plain(rope.theta, dim) / (rope.factor if rope.kind == "linear" else 1.0)
    return jnp.asarray(frequency, dtype)[None]


def rotary_table(
    rope: RopeConfig, dim: int, max_positions: int, positions: Int[Array, "batch position"], dtype: jnp.dtype
) -> tuple[Float[Array, "batch position half"], Float[Array, "batch position half"]]:
    """cos and sin of every position's angles, times the attention factor (1 for most kinds)."""
    length = jnp.max(positions, axis=-1) + 1
    frequency = rotary_frequencies(rope, dim, max_positions, length, dtype)
    angle = positions.astype(dtype)[:, :, None] * frequency[:, None, :]

    def table(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.cos(angle) * rope.attention_factor, jnp.sin(angle) * rope.attention_factor

    # XLA on a CPU would recompute cosines and sines at every head of every layer.
    return computed_once(table, angle)


def rotary_tables(
    config: ModelConfig, positions: Int[Array, "batch position"], dtype: jnp.dtype
) -> tuple[tuple[Float[Array, "batch position half"], Float[Array, "batch position half"]], ...]:
    """The table of each of the model's `ropes`."""
    return tuple(rotary_table(rope, config.rotated, config.max_positions, positions, dtype) for rope in config.ropes)


def query_scale(
    config: ModelConfig, positions: Int[Array, "batch position"], dtype: jnp.dtype
) -> Float[Array, "batch position"] | None:
    """What each position's queries are multiplied by: 1 + β log(1 + ⌊p / n⌋), with n the length before scaling.

    (Llama 4's temperature, as Ministral 3 has it.) None where queries are as they are.
    """
    if config.query_growth == 0:
        return None

    def scale(times: jax.Array) -> jax.Array:
        return 1 + config.query_growth * jnp.log1p(times)

    return computed_once(scale, (positions // config.rope.original_max_positions).astype(dtype))
