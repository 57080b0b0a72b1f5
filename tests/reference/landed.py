"""Landed writes by brute force, in NumPy and float64: every write made, removed, and read again."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from landed_jax.nn.config import ModelConfig
from tests.reference.numpy_model import Arrays, rms_norm


@dataclass(frozen=True)
class Written:
    """Every write of one prompt at one position as a vector, in the order embedding, heads, neurons, biases."""

    names: list[tuple[str, int | None, int | None]]
    vectors: np.ndarray
    lost: np.ndarray  # what the stream loses without each: another vector where an output norm scales what is left
    sites: np.ndarray  # the first read site that hears each write


def every_write(numbers: Arrays, config: ModelConfig, batch: int, position: int) -> Written:
    names: list[tuple[str, int | None, int | None]] = [("embedding", None, None)]
    vectors, sites = [numbers["embedding"][batch, position]], [0]
    lost = list(vectors)
    for layer in range(config.n_layers):
        for head in range(config.n_heads):
            names.append(("head", layer, head))
            vectors.append(numbers["head_write"][layer, batch, position, head])
            lost.append(numbers["head_lost"][layer, batch, position, head])
            sites.append(2 * layer + 1)
        for neuron in range(config.d_ff):
            names.append(("neuron", layer, neuron))
            vectors.append(numbers["neuron_write"][layer, batch, position, neuron])
            lost.append(numbers["neuron_lost"][layer, batch, position, neuron])
            sites.append(2 * layer + 2)
        for kind, site in (("attn_bias", 2 * layer + 1), ("mlp_bias", 2 * layer + 2)):
            names.append((kind, layer, None))
            vectors.append(numbers[kind][layer, batch, position])
            lost.append(numbers[f"{kind}_lost"][layer, batch, position])
            sites.append(site)
    return Written(names, np.stack(vectors), np.stack(lost), np.array(sites))


def landed_contributions(written: Written, numbers: Arrays, direction: np.ndarray, b: int, p: int) -> np.ndarray:
    return written.vectors * numbers["gamma"][-1] / numbers["sigma"][-1, b, p] @ direction


def removed_effects(
    written: Written, numbers: Arrays, direction: np.ndarray, config: ModelConfig, b: int, p: int
) -> np.ndarray:
    """The value with the write minus the value without it, through the norm both times."""
    stream = numbers["residual"][-1, b, p]

    def value(x: np.ndarray) -> float:
        return float(x / np.sqrt(np.mean(x**2) + config.norm_eps) * numbers["gamma"][-1] @ direction)

    return np.array([value(stream) - value(stream - w) for w in written.lost])


def shares_of_sigma(written: Written, numbers: Arrays, config: ModelConfig, b: int, p: int) -> np.ndarray:
    stream = numbers["residual"][-1, b, p]
    return written.vectors @ stream / (config.d_model * numbers["sigma"][-1, b, p] ** 2)


def lost_with(
    numbers: Arrays, params: Any, config: ModelConfig, weights: np.ndarray, site: int, b: int, p: int
) -> np.ndarray:
    """What the stream at a read site loses with a weighted group of writes (in the order of `every_write`)."""
    names = every_write(numbers, config, b, p).names
    lost = weights[0] * numbers["embedding"][b, p]
    for layer in range(config.n_layers):
        part = params["layers"][str(layer)]
        for kind, name, first in (("head", "attn", 2 * layer + 1), ("neuron", "mlp", 2 * layer + 2)):
            if first > site:
                continue
            mine = weights[[place[:2] == (kind, layer) for place in names]]
            bias_weight = weights[names.index((f"{name}_bias", layer, None))]
            bias = np.asarray(part[name].get({"attn": "b_O", "mlp": "b_down"}[name], np.zeros(config.d_model)))
            out = numbers[f"{kind}_out"][layer, b, p]
            gamma = part.get(f"{name}_out_norm", {}).get("gamma")

            def added(y: np.ndarray, gamma: Any = gamma) -> np.ndarray:
                normed = y if gamma is None else rms_norm(y, np.asarray(gamma), config)
                return config.residual_scale * normed

            lost = lost + added(out.sum(0) + bias) - added((1 - mine) @ out + (1 - bias_weight) * bias)
    return lost
