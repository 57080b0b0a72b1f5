"""A plan's call, compiled for its slice of TPUs: what the arithmetic is held against."""

from dataclasses import dataclass

from landed_jax.errors import LandedError, first_line
from landed_jax.memory.shortage import is_out_of_memory
from landed_jax.planning._compiled import Compiled, compiled_call, tpu_mesh
from landed_jax.planning._plan import Plan


@dataclass(frozen=True)
class Verdict:
    """What the compiler made of a plan.

    Attributes:
        compiled: None where the program takes more memory than a chip has.
        says: the compiler's own words where it does.
    """

    compiled: Compiled | None
    says: str = ""


def compile_plan(found: Plan) -> Verdict:
    """Compile the call of a plan, on its mesh, in as many passes; takes minutes, and `use_libtpu` before.

    Raises:
        LandedError: for a slice that libtpu does not know.
    """
    layout, name = found.layout, found.topology.name.lower()
    try:
        mesh = tpu_mesh(name, {"data": layout.data, "model": layout.model})
    except Exception as error:  # JAX's own: part of a host, for example
        raise LandedError(f"{name} is no slice that libtpu compiles for ({first_line(error)}).") from error
    try:
        return Verdict(compiled_call(found.config, found.task, mesh, layout.passes or 1, found.dtype))
    except Exception as error:  # JAX's own, whose type is no part of its interface
        if not is_out_of_memory(error):
            raise
        return Verdict(None, str(error).strip().splitlines()[0])
