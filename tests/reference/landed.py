"""Landed writes by brute force, in NumPy and float64: every write made, removed, and read again."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from landed_jax.nn.config import ModelConfig
from tests.reference.numpy_model import Arrays, rms_norm


@dataclass(frozen=True)
class Written:
    """Every write of one prompt at one position as a vector, in the order embeddings, heads, neurons, biases."""

    names: list[tuple[str, int | None, int | None]]
    vectors: np.ndarray
    lost: np.ndarray  # what the stream loses without each: another vector where an output norm scales what is left
    sites: np.ndarray  # the first read site that hears each write


def every_write(numbers: Arrays, config: ModelConfig, batch: int, position: int) -> Written:
    names: list[tuple[str, int | None, int | None]] = [("embedding", None, None)]
    vectors, sites = [numbers["embedding"][batch, position]], [0]
    if config.learned_positions:
        names.append(("position", None, None))
        vectors.append(numbers["position_embedding"][batch, position])
        sites.append(0)
    lost = list(vectors)
    for layer in range(config.n_layers):
        after_mlp = 2 * layer + 2
        after_attn = after_mlp if config.parallel_blocks else after_mlp - 1
        for head in range(config.n_heads):
            names.append(("head", layer, head))
            vectors.append(numbers["head_write"][layer, batch, position, head])
            lost.append(numbers["head_lost"][layer, batch, position, head])
            sites.append(after_attn)
        for neuron in range(config.n_neurons):
            names.append(("neuron", layer, neuron))
            vectors.append(numbers["neuron_write"][layer, batch, position, neuron])
            lost.append(numbers["neuron_lost"][layer, batch, position, neuron])
            sites.append(after_mlp)
        for kind, site in (("attn_bias", after_attn), ("mlp_bias", after_mlp)):
            names.append((kind, layer, None))
            vectors.append(numbers[kind][layer, batch, position])
            lost.append(numbers[f"{kind}_lost"][layer, batch, position])
            sites.append(site)
    return Written(names, np.stack(vectors), np.stack(lost), np.array(sites))


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

    return np.array([value(stream) - value(stream - w) for w in written.lost])


def shares_of_sigma(written: Written, numbers: Arrays, config: ModelConfig, b: int, p: int) -> np.ndarray:
    stream = numbers["residual"][-1, b, p]
    return written.vectors @ heard(stream, config) / (config.d_model * numbers["sigma"][-1, b, p] ** 2)


def lost_with(
    numbers: Arrays, params: Any, config: ModelConfig, weights: np.ndarray, site: int, b: int, p: int
) -> np.ndarray:
    """What the stream at a read site loses with a weighted group of writes (in the order of `every_write`)."""
    written = every_write(numbers, config, b, p)
    names = written.names
    lost = sum(
        weight * vector for weight, vector, name in zip(weights, written.vectors, names, strict=True) if name[1] is None
    )
    for layer in range(config.n_layers):
        part = params["layers"][str(layer)]
        for kind, name in (("head", "attn"), ("neuron", "mlp")):
            if written.sites[names.index((kind, layer, 0))] > site:
                continue
            mine = weights[[place[:2] == (kind, layer) for place in names]]
            bias_weight = weights[names.index((f"{name}_bias", layer, None))]
            bias = numbers[f"{name}_bias_out"][layer, b, p]
            out = numbers[f"{kind}_out"][layer, b, p]
            gamma = part.get(f"{name}_out_norm", {}).get("gamma")

            def added(y: np.ndarray, gamma: Any = gamma) -> np.ndarray:
                normed = y if gamma is None else rms_norm(y, np.asarray(gamma), config)
                return config.residual_scale * normed

            lost = lost + added(out.sum(0) + bias) - added((1 - mine) @ out + (1 - bias_weight) * bias)
    return lost
