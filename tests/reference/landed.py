"""Landed writes by brute force, in NumPy and float64: every write made, removed, and read again."""

from dataclasses import dataclass

import numpy as np

from landed_jax.nn.config import ModelConfig
from tests.reference.numpy_model import Arrays


@dataclass(frozen=True)
class Written:
    """Every write of one prompt at one position as a vector, in the order embeddings, heads, neurons, biases."""

    names: list[tuple[str, int | None, int | None]]
    vectors: np.ndarray
    sites: np.ndarray  # the first read site that hears each write


def every_write(numbers: Arrays, config: ModelConfig, batch: int, position: int) -> Written:
    names: list[tuple[str, int | None, int | None]] = [("embedding", None, None)]
    vectors, sites = [numbers["embedding"][batch, position]], [0]
    if config.learned_positions:
        names.append(("position", None, None))
        vectors.append(numbers["position_embedding"][batch, position])
        sites.append(0)
    for layer in range(config.n_layers):
        after_mlp = 2 * layer + 2
        after_attn = after_mlp if config.parallel_blocks else after_mlp - 1
        for head in range(config.n_heads):
            names.append(("head", layer, head))
            vectors.append(numbers["head_write"][layer, batch, position, head])
            sites.append(after_attn)
        for neuron in range(config.d_ff):
            names.append(("neuron", layer, neuron))
            vectors.append(numbers["neuron_write"][layer, batch, position, neuron])
            sites.append(after_mlp)
        for kind, site in (("attn_bias", after_attn), ("mlp_bias", after_mlp)):
            names.append((kind, layer, None))
            vectors.append(numbers[kind][layer])
            sites.append(site)
    return Written(names, np.stack(vectors), np.array(sites))


def heard(x: np.ndarray, config: ModelConfig) -> np.ndarray:
    """What the model's norms see of vectors: LayerNorm nothing of their mean."""
    return x - x.mean(-1, keepdims=True) if config.norm == "layer" else x


def land(x: np.ndarray, numbers: Arrays, config: ModelConfig, site: int, b: int, p: int) -> np.ndarray:
    """Vectors as a site's norm hears them."""
    return heard(x, config) * numbers["gamma"][site] / numbers["sigma"][site, b, p]


def sigma_of(x: np.ndarray, config: ModelConfig) -> np.ndarray:
    """σ of streams."""
    return np.sqrt(np.mean(heard(x, config) ** 2, axis=-1) + config.norm_eps)


def landed_contributions(
    written: Written, numbers: Arrays, direction: np.ndarray, config: ModelConfig, b: int, p: int
) -> np.ndarray:
    return land(written.vectors, numbers, config, -1, b, p) @ direction


def removed_effects(
    written: Written, numbers: Arrays, direction: np.ndarray, config: ModelConfig, b: int, p: int
) -> np.ndarray:
    """The value with the write minus the value without it, through the norm both times."""
    stream = numbers["residual"][-1, b, p]

    def value(x: np.ndarray) -> float:
        return float(heard(x, config) / sigma_of(x, config) * numbers["gamma"][-1] @ direction)

    return np.array([value(stream) - value(stream - w) for w in written.vectors])


def shares_of_sigma(written: Written, numbers: Arrays, config: ModelConfig, b: int, p: int) -> np.ndarray:
    stream = numbers["residual"][-1, b, p]
    return written.vectors @ heard(stream, config) / (config.d_model * numbers["sigma"][-1, b, p] ** 2)
