"""What libtpu needs in order to compile on a machine without a TPU. Imports no JAX: the environment comes first."""

from collections.abc import MutableMapping
from importlib.util import find_spec

from landed_jax.errors import LandedError
from landed_jax.planning._topology import Topology

COMPILED_FOR = ("v5e", "v5p", "v6e")  # of a v4 libtpu describes cores, not chips
_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # other processes may compile too: there is no TPU to share
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",  # of the machine that is not there; a topology is named by itself
}


def use_libtpu(topology: Topology, environment: MutableMapping[str, str]) -> None:
    """Have libtpu look for no machine of its own; before JAX starts.

    Raises:
        LandedError: where it is not installed, or compiles for no such chips.
    """
    if topology.chip.name not in COMPILED_FOR:
        raise LandedError(
            f"{topology.chip.title} has no compiler here: --compile is for {', '.join(COMPILED_FOR)}, from libtpu."
        )
    if find_spec("libtpu") is None:
        raise LandedError("--compile needs the package libtpu, which compiles without a TPU: pip install libtpu.")
    for name, value in _ENVIRONMENT.items():
        environment.setdefault(name, value)
