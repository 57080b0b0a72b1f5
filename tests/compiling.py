"""How these tests have XLA compile: compiling is most of what they do."""

from importlib.metadata import version

# The machine code is not optimised and comes from the plainer emitters, which take 0.6 of the time (XLA's own passes
# all run). A jaxlib ends the process over a flag that it does not know, and those after 0.10 have one kind of emitters.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if version("jaxlib").startswith("0.10."):
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"
