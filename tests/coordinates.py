"""Counts of coordinates by their definitions, and traces of small random models with the streams they count in."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import landed_jax as landed
from landed_jax import RESIDUALS, WRITES, Trace
from landed_jax.nn.parameters import stack_layers
from tests.models import CONFIGS, random_params, random_tokens
from tests.reference import landed as landed_reference
from tests.reference.numpy_model import numpy_forward
from tests.traces import unembedding


def in_order(contributions: list[int], value: float) -> list[int]:
    """Largest first; of one size, those that pull towards the value first."""
    return sorted(contributions, key=lambda c: (-abs(c), c * value < 0))


def settled(contributions: list[int], value: float, fraction: float) -> int:
    """The definition, word for word: the smallest n such that all rests from n on are within the bound."""
    ordered = in_order(contributions, value)
    within = [abs(sum(ordered[m:])) <= (1 - fraction) * abs(value) for m in range(len(ordered) + 1)]
    return next(n for n in range(len(ordered) + 1) if all(within[n:]))


run = jax.jit(landed.forward, static_argnames=("config", "record", "dtype"))


@cache
def traced(name: str, dtype: str = "float32", stacked: bool = False, at: tuple[int, ...] | None = None) -> Trace:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.dtype(dtype))
    params = stack_layers(params) if stacked else params
    columns = None if at is None else jnp.asarray(at)
    logits, trace = run(params, random_tokens(config), config, record=WRITES | RESIDUALS, at=columns)
    return dataclasses.replace(trace, logits=logits).bind(params)


def heard(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """The final landed stream and the unembedding, in NumPy."""
    params = trace.weights()
    found = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, trace.config)
    sigma = np.where(trace.tokens.mask, found["sigma"][-1], 1.0)  # nothing on padding, where it is 0
    stream = landed_reference.heard(found["residual"][-1], trace.config)
    return stream * found["gamma"][-1] / sigma[..., None], unembedding(params, trace.config)


def first_to_reach(parts: np.ndarray, fraction: float) -> int:
    sums = np.cumsum(parts[np.argsort(-np.abs(parts))]) * np.sign(parts.sum())
    return 1 + int(np.argmax(sums >= fraction * abs(parts.sum())))
