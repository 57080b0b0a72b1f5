"""Ground truth for analyses: a language with labelled answers, and models with a planted mechanism."""

from landed_jax.testbed.example import Example, Pair, Task
from landed_jax.testbed.language import TASKS, conditions, pairs
from landed_jax.testbed.planted import Planted, cancelling_writes, copying_head, null_space_neuron, writing_neuron

__all__ = [
    "TASKS",
    "Example",
    "Pair",
    "Planted",
    "Task",
    "cancelling_writes",
    "conditions",
    "copying_head",
    "null_space_neuron",
    "pairs",
    "writing_neuron",
]
