"""How these tests have XLA compile: compiling is most of what they do; and which programs something compiles."""

import contextlib
import logging
from collections.abc import Iterator
from importlib.metadata import version

# The machine code is not optimised and comes from the plainer emitters, which take 0.6 of the time (XLA's own passes
# all run). A jaxlib ends the process over a flag that it does not know, and those after 0.10 have one kind of emitters.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if version("jaxlib").startswith("0.10."):
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """What JAX compiles, or reads from its cache, within the block: a line for each program."""
    import jax  # the flags above are set before JAX is imported

    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Compiling" in record.getMessage():
                found.append(record.getMessage())

    logger, listener = logging.getLogger("jax"), Listener()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        with jax.log_compiles():
            yield found
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate
