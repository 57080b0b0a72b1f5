"""Landed writes by brute force, in NumPy and float64: every write made, removed, and read again."""

from dataclasses import dataclass

import numpy as np

from landed_jax.nn.config import ModelConfig
from tests.reference.numpy_model import Arrays


@dataclass(frozen=True)
class Written:
    """Every write of one prompt at one position as a vector, in the order embedding, heads, neurons, biases."""

    names: list[tuple[str, int | None, int | None]]
    vectors: np.ndarray
    sites: np.ndarray  # the first read site that hears each write


def every_write(numbers: Arrays, config: ModelConfig, batch: int, position: int) -> Written:
    names: list[tuple[str, int | None, int | None]] = [("embedding", None, None)]
    vectors, sites = [numbers["embedding"][batch, position]], [0]
    for layer in range(config.n_layers):
        for head in range(config.n_heads):
            names.append(("head", layer, head))
            vectors.append(numbers["head_write"][layer, batch, position, head])
            sites.append(2 * layer + 1)
        for neuron in range(config.d_ff):
            names.append(("neuron", layer, neuron))
            vectors.append(numbers["neuron_write"][layer, batch, position, neuron])
            sites.append(2 * layer + 2)
        for kind, site in (("attn_bias", 2 * layer + 1), ("mlp_bias", 2 * layer + 2)):
            names.append((kind, layer, None))
            vectors.append(numbers[kind][layer])
            sites.append(site)
    return Written(names, np.stack(vectors), np.array(sites))


def landed_contributions(written: Written, numbers: Arrays, direction: np.ndarray, b: int, p: int) -> np.ndarray:
    return written.vectors * numbers["gamma"][-1] / numbers["sigma"][-1, b, p] @ direction


def removed_effects(
    written: Written, numbers: Arrays, direction: np.ndarray, config: ModelConfig, b: int, p: int
) -> np.ndarray:
    """The value with the write minus the value without it, through the norm both times."""
    stream = numbers["residual"][-1, b, p]

    def value(x: np.ndarray) -> float:
        return float(x / np.sqrt(np.mean(x**2) + config.norm_eps) * numbers["gamma"][-1] @ direction)

    return np.array([value(stream) - value(stream - w) for w in written.vectors])


def shares_of_sigma(written: Written, numbers: Arrays, config: ModelConfig, b: int, p: int) -> np.ndarray:
    stream = numbers["residual"][-1, b, p]
    return written.vectors @ stream / (config.d_model * numbers["sigma"][-1, b, p] ** 2)
