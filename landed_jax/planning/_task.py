"""What is planned: which call, on how many tokens, cut over which mesh."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from landed_jax.errors import LandedError
from landed_jax.memory.estimates import part_of
from landed_jax.nn.config import ModelConfig

What = Literal["forward", "last", "all", "effects", "top"]
TOP = 1000  # the writes that `top` keeps
WHATS: dict[What, str] = {
    "forward": "the logits of every position",
    "last": "every write at the last position, with direct effects and σ shares",
    "all": "every write's landed contribution at every position",
    "effects": "the same with direct effects and σ shares",
    "top": f"the {TOP:,} largest writes of all positions, with direct effects and σ shares",
}


@dataclass(frozen=True)
class Task:
    """One call on one batch of prompts.

    Attributes:
        what: a key of `WHATS`.
        length: tokens a prompt.
        batch: prompts.
    """

    what: What
    length: int
    batch: int

    @property
    def attributes(self) -> bool:
        """Whether writes are attributed, by `attribute_streaming`."""
        return self.what != "forward"

    @property
    def effects(self) -> bool:
        """Whether direct effects and σ shares are asked for."""
        return self.what not in ("forward", "all")

    @property
    def positions(self) -> int:
        """Positions of each prompt that are asked."""
        return 1 if self.what == "last" else self.length


@dataclass(frozen=True)
class Share:
    """The sizes of one chip's part of a model and a batch: each is cut where it divides evenly, and else is whole.

    Attributes:
        config: of the whole model.
        part: a model of this part's sizes, for the estimates of whole models.
        batch: prompts.
        heads, kv_heads, vocab: of each.
        neurons: that write at a position in a layer; of experts, an even part of those chosen.
        shards: over how many chips a part of a layer is cut.
    """

    config: ModelConfig
    part: ModelConfig
    batch: int
    heads: int
    kv_heads: int
    neurons: int
    vocab: int
    shards: int

    @classmethod
    def of(cls, config: ModelConfig, task: Task, mesh: Mapping[str, int]) -> "Share":
        """One chip's part on a mesh with the axes ``data`` and ``model``.

        Raises:
            LandedError: where the prompts cannot be spread evenly.
        """
        data, model = mesh["data"], mesh["model"]
        if task.batch % data:
            raise LandedError(
                f"A batch of {task.batch} cannot be spread evenly over data={data}: give a batch that is a multiple."
            )

        part = part_of(config, model)
        shards = model if part.n_heads < config.n_heads or part.d_ff < config.n_neurons else 1
        keys = config.n_kv_heads // model if config.n_kv_heads % model == 0 else config.n_kv_heads
        return cls(config, part, task.batch // data, part.n_heads, keys, part.d_ff, part.vocab_size, shards)

    @property
    def cut(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """How many heads there are, and neurons at a position, of all and of this part."""
        return (self.config.n_heads, self.heads), (self.config.n_neurons, self.neurons)
