"""What a circuit is made of: heads, heads and MLPs, or neurons; as one row of components a layer."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import AXES, HookPoint

EDGES = "edges"
"""The level whose circuits are sets of edges: `landed.circuits`."""


class Part(NamedTuple):
    """Components at one hook point.

    Attributes:
        axis: the hook point's axis that counts them; None where a layer's value is one component.
    """

    site: HookPoint
    axis: str | None

    def count(self, config: ModelConfig) -> int:
        """How many of a layer."""
        return {"head": config.n_heads, "neuron": config.d_ff, None: 1}[self.axis]

    def spread(self, row: Any) -> Any:
        """One number a component, in a shape that broadcasts to the hook point's value."""
        return row.reshape([-1 if axis == self.axis else 1 for axis in AXES[self.site]])


@dataclass(frozen=True)
class Level:
    """A kind of circuit.

    Attributes:
        keeps: what is never ablated, in words.
    """

    name: str
    parts: tuple[Part, ...]
    keeps: str

    def row(self, config: ModelConfig) -> int:
        """Components of one layer."""
        return sum(part.count(config) for part in self.parts)

    def split(self, row: Any, config: ModelConfig) -> list[Any]:
        """The last axis of `row`, part by part."""
        ends = np.cumsum([part.count(config) for part in self.parts])
        return [row[..., end - part.count(config) : end] for part, end in zip(self.parts, ends, strict=True)]


_HEADS, _NEURONS, _MLP = (
    Part(HookPoint.HEAD, "head"),
    Part(HookPoint.NEURON, "neuron"),
    Part(HookPoint.MLP_OUT, None),
)

LEVELS = {
    "heads": Level("heads", (_HEADS,), "embeddings, biases and all MLPs"),
    "nodes": Level("nodes", (_HEADS, _MLP), "embeddings and the biases of attention"),
    "neurons": Level("neurons", (_NEURONS,), "embeddings, biases and all heads"),
}
"""The levels whose circuits are sets of components, by name."""


def level_of(name: str, config: ModelConfig) -> Level:
    """A level by its name.

    Raises:
        LandedError: for a name that there is not, and neurons of a model with experts, whose places along the axis of
            neurons are other neurons at each position.
    """
    if name not in LEVELS:
        raise LandedError(f"There is no level {name!r} of circuits of components: these are {', '.join(LEVELS)}.")
    if name == "neurons" and config.n_experts:
        raise LandedError("Circuits of neurons are for models without experts: take --level heads or nodes.")
    return LEVELS[name]


def check_scored(name: str, scored: bool) -> None:
    """Refuse a level that none of some methods scores.

    Raises:
        LandedError: naming the level.
    """
    if not scored:
        raise LandedError(f"None of these methods scores {name}: name another level, or other methods.")


def scores_at(
    level: Level,
    heads: Float[np.ndarray, "layer prompt head"] | None,
    neurons: Float[np.ndarray, "layer prompt neuron"] | None,
) -> Float[np.ndarray, "prompt layer component"] | None:
    """A method's scores of a level's components; an MLP's is the sum of its neurons'; None where it has none."""
    found = []
    for part in level.parts:
        own = heads if part.axis == "head" else neurons
        if own is None:
            return None
        found.append(own.sum(axis=-1, keepdims=True) if part.axis is None else own)
    return np.concatenate(found, axis=-1).swapaxes(0, 1)
