"""Runs of an axis: what each device can do by itself, where a mesh cuts the axis over a power of two of devices."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

# At most: a run lies on one of up to so many devices.
RUNS = 64
# Numbers of a sum, at least: sums of all layers are kept.
_SUMMED = 32


def runs_in(size: int, count: int = 1) -> int:
    """How many runs of equal length an axis is taken as, a power of two; each holds at least `count` numbers.

    >>> runs_in(14336), runs_in(12), runs_in(14336, count=1000), runs_in(7)
    (64, 4, 8, 1)
    """
    runs = math.gcd(size, RUNS)
    while runs > 1 and size < runs * count:
        runs //= 2
    return runs


def sums_of_neurons(values: Float[Array, "*lead neuron"]) -> Float[Array, "*lead run"]:
    """The sum of each run. In a loop over layers this needs no other device, and the sum of all does.

    >>> sums_of_neurons(jnp.arange(64.0)).tolist()
    [496.0, 1520.0]
    """
    size = values.shape[-1]
    return jnp.sum(values.reshape(*values.shape[:-1], runs_in(size, _SUMMED), -1), axis=-1)
