"""The plan of a call: memory, time and mesh, from shapes alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from landed_jax.errors import LandedError, shown
from landed_jax.mesh import DATA, MODEL
from landed_jax.nn.config import ModelConfig
from landed_jax.planning._chips import PRECISIONS, Precision
from landed_jax.planning._choose import Layout, in_order, possible_meshes
from landed_jax.planning._memory import memory_of
from landed_jax.planning._task import WHATS, Task, What
from landed_jax.planning._topology import Topology, topology_of
from landed_jax.planning._work import seconds_of, work_of

FRACTION = 0.4


@dataclass(frozen=True)
class Plan:
    """What a call takes, and on which mesh.

    Attributes:
        dtype: float type of the weights.
        layout: on the mesh that was asked for, or else on the fastest that fits; where none does, on the one that
            takes the least memory a chip.
        others: the other meshes, in the same order; empty where a mesh was asked for.
        chosen: whether the mesh was chosen here.
        prompts: how many in all; None where only one batch was asked for.
    """

    config: ModelConfig
    topology: Topology
    task: Task
    dtype: str
    precision: Precision
    layout: Layout
    others: tuple[Layout, ...]
    chosen: bool
    prompts: int | None

    @property
    def batches(self) -> int | None:
        """Batches that all prompts make."""
        return None if self.prompts is None else math.ceil(self.prompts / self.task.batch)


def plan(
    config: ModelConfig,
    topology: str | Topology,
    *,
    length: int,
    batch: int = 1,
    what: What = "top",
    mesh: Mapping[str, int] | None = None,
    dtype: Any = "bfloat16",
    precision: Precision = "highest",
    fraction: float = FRACTION,
    prompts: int | None = None,
) -> Plan:
    """What a call takes on each chip of a slice, from shapes alone: no device is asked, and nothing is compiled.

    Args:
        topology: chips, such as ``v5e:4x4`` or ``h100:8``.
        length, batch: tokens a prompt, and prompts a batch.
        what: which call: a key of `WHATS`.
        mesh: sizes of the axes ``data`` and ``model``; by default those of the fastest mesh that fits.
        dtype: of the weights.
        precision: of products, JAX's; the package computes in the highest unless it is told otherwise.
        fraction: of the published rates, assumed for the expected time.
        prompts: how many there are in all.

    Raises:
        LandedError: for a topology or mesh that cannot be, and prompts that are too long for the model.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> found = plan(config, "v5e:2x2", length=16, batch=2)
    >>> found.layout.data, found.layout.model, found.layout.fits
    (2, 2, True)
    """
    topology = topology_of(topology) if isinstance(topology, str) else topology
    _check(config, what, length, batch, precision, fraction, prompts)
    task, dtype = Task(what, length, batch), str(jnp.dtype(dtype))
    if mesh is not None and (mesh.keys() != {DATA, MODEL} or not all(size >= 1 for size in mesh.values())):
        raise LandedError(f"A mesh has the axes data and model, each of 1 or more, not {dict(mesh)}.")
    if mesh is not None and math.prod(mesh.values()) != topology.count:
        sizes = ",".join(f"{axis}={size}" for axis, size in mesh.items())
        raise LandedError(
            f"The mesh {sizes} has {math.prod(mesh.values())} chips, and {topology.name} has {topology.count}."
        )

    def layout(mesh: Mapping[str, int]) -> Layout:
        memory, passes = memory_of(config, task, mesh, dtype, topology.chip)
        work = work_of(config, task, mesh, dtype, passes)
        seconds = seconds_of(work, topology, mesh["model"], precision, fraction)
        return Layout(mesh["data"], mesh["model"], memory, work, seconds, passes, topology.chip.usable)

    meshes = possible_meshes(config, task, topology) if mesh is None else [mesh]
    chosen, *others = in_order([layout(mesh) for mesh in meshes])
    return Plan(config, topology, task, dtype, precision, chosen, tuple(others), mesh is None, prompts)


def _check(
    config: ModelConfig, what: str, length: int, batch: int, precision: str, fraction: float, prompts: int | None
) -> None:
    if what not in WHATS:
        raise LandedError(f"what={shown(what)} is no call that can be planned: give one of {', '.join(WHATS)}.")
    if precision not in PRECISIONS:
        raise LandedError(f"precision={shown(precision)} is not one of {', '.join(PRECISIONS)}.")
    for name, size in (("length", length), ("batch", batch), ("prompts", prompts)):
        if size is not None and not 1 <= size < 2**31:
            raise LandedError(f"{name}={shown(size)} is no number of them: give at least 1, and less than 2**31.")
    if config.learned_positions and length > config.max_positions:
        raise LandedError(f"The model has {config.max_positions} learned positions, fewer than {length} tokens.")
    if not 0 < fraction <= 1:
        raise LandedError(f"fraction={shown(fraction)} is no part of a rate: give a number above 0, of at most 1.")
