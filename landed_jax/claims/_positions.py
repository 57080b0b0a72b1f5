"""Which positions count: σ of a prompt's first token differs from others' by orders of magnitude."""

import jax
import jax.numpy as jnp

from landed_jax.trace import Trace


def later(trace: Trace) -> jax.Array:
    """``[batch, position]``, True at every token but a prompt's first."""
    return trace.tokens.mask[:, trace.at] & (trace.tokens.positions[:, trace.at] > 0)


def first(trace: Trace) -> jax.Array:
    """``[batch, position]``, True at each prompt's first token."""
    return trace.tokens.mask[:, trace.at] & (trace.tokens.positions[:, trace.at] == 0)


def mean_over(values: jax.Array, chosen: jax.Array) -> jax.Array:
    """The mean over a prompt's chosen positions of ``[site, batch, position]``: ``[batch, site]``; nan without any."""
    count = jnp.sum(chosen, axis=-1, dtype=values.dtype)[None]
    total = jnp.sum(jnp.where(chosen[None], values, 0), axis=-1)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan).T
