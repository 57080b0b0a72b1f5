"""A call as the real compiler compiles it for a slice of TPUs, on a machine that has none: from shapes alone."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.reduce._reductions import everything
from landed_jax.analysis.reduce._top_writes import top_writes
from landed_jax.analysis.streaming._attribute_streaming import attribute_streaming
from landed_jax.forward_pass import forward
from landed_jax.mesh import AXES, DATA
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from landed_jax.nn.sharding import abstract_on_mesh
from landed_jax.planning._collectives import Collective, collectives_of
from landed_jax.planning._task import TOP, Task

Passes = Literal[1, 2]


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of one program.

    Attributes:
        arguments, temporaries, results: bytes on one device.
        flops: floating-point operations on one device; a loop over layers counts once.
        collectives: what devices send each other.
        seconds: that compiling took.
    """

    arguments: int
    temporaries: int
    results: int
    flops: float
    collectives: tuple[Collective, ...]
    seconds: float

    @property
    def bytes(self) -> int:
        """All memory on one device."""
        return self.arguments + self.temporaries + self.results


def tpu_mesh(name: str, sizes: Mapping[str, int]) -> Mesh:
    """A mesh of the devices of a slice such as ``v5e:2x4``; needs the package libtpu, and no TPU.

    Set ``TPU_SKIP_MDS_QUERY=1``, ``TPU_WORKER_HOSTNAMES=localhost`` and ``TPU_ACCELERATOR_TYPE`` (such as
    ``v5litepod-8``) before JAX starts, or libtpu looks for its machine.
    """
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    return Mesh(np.array(devices).reshape([sizes[axis] for axis in AXES]), AXES)


def arguments(
    config: ModelConfig, task: Task, mesh: Mesh, dtype: Any = "bfloat16", stacked: bool = True
) -> tuple[Params, Any]:
    """Shapes of the weights and of the token ids, with their shardings."""
    ids = jax.ShapeDtypeStruct((task.batch, task.length), jnp.int32, sharding=NamedSharding(mesh, PartitionSpec(DATA)))
    return abstract_on_mesh(config, mesh, dtype, stacked), ids


def program(config: ModelConfig, task: Task, passes: Passes) -> Callable[[Params, jax.Array], Any]:
    """The call as a function of weights and token ids.

    Args:
        passes: of `attribute_streaming`: for all positions.
    """

    def run(params: Params, ids: jax.Array) -> Any:
        if task.what == "forward":
            return forward(params, ids, config, record=())[0]
        if task.what == "last":
            found = attribute(forward(params, ids, config, at=-1)[1].bind(params), effects=True)
        else:
            kept = top_writes(TOP) if task.what == "top" else everything()
            found = attribute_streaming(params, ids, config, kept, effects=task.effects, passes=passes)
        return dataclasses.replace(found, provenance=None)

    run.__name__ = task.what
    return run


def compile_for(function: Callable[..., Any], *given: Any) -> Compiled:
    """Compile a function for the devices that its arguments' shardings name."""
    lowered = jax.jit(function).lower(*given)
    start = time.perf_counter()
    with _without_cache():
        compiled = lowered.compile()
    seconds = time.perf_counter() - start
    memory: Any = compiled.memory_analysis()
    cost: Any = compiled.cost_analysis()
    return Compiled(
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        memory.output_size_in_bytes,
        float((cost or {}).get("flops", 0)),
        tuple(collectives_of(compiled.as_text() or "")),
        seconds,
    )


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Without JAX's cache of compiled programs: without the device, what it holds cannot be loaded."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # it remembers whether it is used
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


@functools.cache
def compiled_call(config: ModelConfig, task: Task, mesh: Mesh, passes: Passes = 1, dtype: str = "bfloat16") -> Compiled:
    """`compile_for` of a call, from shapes alone."""
    return compile_for(program(config, task, passes), *arguments(config, task, mesh, dtype))
