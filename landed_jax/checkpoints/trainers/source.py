"""A kind of tree that parameters may come in: its name and its table."""

from collections.abc import Callable
from dataclasses import dataclass

from landed_jax.checkpoints.trainers.entry import LAYER, Entry
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LAYER_LEAVES, LEAVES, TOP_LEAVES


def _no_problems(_: ModelConfig) -> list[str]:
    return []


@dataclass(frozen=True)
class Source:
    """A kind of tree.

    Attributes:
        name: as messages and results say it.
        table: all its leaves for a config, those too that this config does not have.
        problems: what a config says that such a tree cannot be, or does not tell.
    """

    name: str
    table: Callable[[ModelConfig], list[Entry]]
    problems: Callable[[ModelConfig], list[str]] = _no_problems

    def entries(self, config: ModelConfig) -> list[Entry]:
        """The leaves that a model of this config has."""
        return [entry for entry in self.table(config) if LEAVES[entry.leaf].present(config)]

    def names(self, config: ModelConfig) -> list[str]:
        return [name for entry in self.entries(config) for name, _ in entry.paths(config)]


def embedding_scale_problems(config: ModelConfig, scale: float) -> list[str]:
    """A sentence where the program multiplies the embedding by another number than the config."""
    if config.embedding_scale == scale:
        return []
    return [f"the embedding is scaled by {scale:g} there, and by embedding_scale = {config.embedding_scale:g} here"]


def own_table(stacked: bool) -> Callable[[ModelConfig], list[Entry]]:
    """This package's own tree, in one of its two layouts."""

    def table(_: ModelConfig) -> list[Entry]:
        before, layer = ("layers/", f"{LAYER} ") if stacked else ("layers/{layer}/", "")
        top = [Entry(leaf.path, leaf.path, " ".join(leaf.axes)) for leaf in TOP_LEAVES]
        return top + [Entry(before + leaf.path, leaf.path, layer + " ".join(leaf.axes)) for leaf in LAYER_LEAVES]

    return table
