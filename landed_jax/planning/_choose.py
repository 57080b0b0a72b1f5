"""Which meshes a slice of chips can take, and which of them to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.planning._memory import Memory
from landed_jax.planning._task import Task
from landed_jax.planning._topology import Topology
from landed_jax.planning._work import Seconds, Work


@dataclass(frozen=True)
class Layout:
    """A call on one mesh: what each chip holds and does.

    Attributes:
        data, model: sizes of the mesh's axes.
        passes: of the attribution; None for a forward pass.
        limit: bytes that a program may take on one chip.
    """

    data: int
    model: int
    memory: Memory
    work: Work
    seconds: Seconds
    passes: Literal[1, 2] | None
    limit: int

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.limit


def possible_meshes(config: ModelConfig, task: Task, topology: Topology) -> list[dict[str, int]]:
    """Every mesh of all chips on which the prompts, the heads and the neurons (or experts) are spread evenly.

    Key heads and the vocabulary may be whole on each chip.

    Raises:
        LandedError: where there is none.

    >>> from landed_jax.planning._topology import topology_of
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> possible_meshes(config, Task("forward", 16, 4), topology_of("h100:8"))
    [{'data': 4, 'model': 2}, {'data': 2, 'model': 4}]
    """

    def even(model: int) -> bool:
        return config.n_heads % model == 0 and config.d_ff % model == 0

    meshes = [
        {"data": topology.count // model, "model": model}
        for model in range(1, topology.count + 1)
        if topology.count % model == 0 and even(model) and task.batch % (topology.count // model) == 0
    ]
    if not meshes:
        raise LandedError(
            f"No mesh of {topology.count} chips spreads a batch of {task.batch}, {config.n_heads} heads and a d_ff of "
            f"{config.d_ff} evenly: give another batch or topology, or a mesh of your own."
        )
    return meshes


def in_order(layouts: Sequence[Layout]) -> list[Layout]:
    """Those that fit first, each time the fastest first; those that do not fit by their memory."""
    return sorted(
        layouts, key=lambda layout: (not layout.fits, layout.seconds.expected if layout.fits else layout.memory.total)
    )
