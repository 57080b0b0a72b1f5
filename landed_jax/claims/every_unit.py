"""Every unit of a model of 8 billion parameters can be followed."""

from collections.abc import Mapping

import numpy as np

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.claims._claim import ODONNELL, Claim, Reading, Rows, largest, only_of, within_rounding
from landed_jax.memory.estimates import trace_bytes, weight_bytes
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.trace import Trace

_PUBLISHED = 130_000
_LLAMA = only_of("Llama-3.1-8B", n_layers=32, d_model=4096, d_ff=14336, vocab_size=128256)


def _measure(model: Model, trace: Trace) -> Mapping[str, Rows]:
    found = attribute(trace, effects=False)
    error = np.abs(np.asarray(found.closure_error))[:, -1:] / np.abs(np.asarray(found.value))[:, -1:]
    kept = sum(trace_bytes(model.config, length=128, positions=1).values()) / weight_bytes(model.params)
    return {"error": error, "memory": np.full_like(error, 100 * kept)}


def _count(value: float) -> bool:
    return abs(value / _PUBLISHED - 1) <= 0.05


def _less_than_the_weights(value: float) -> bool:
    return value <= 100


def _readings(config: ModelConfig) -> tuple[Reading, ...]:
    heads = config.n_layers * config.n_heads
    neurons = config.n_layers * config.d_ff * max(config.n_experts, 1)
    outputs = config.n_layers * config.d_model
    published = f"{_PUBLISHED:,}"
    return (
        Reading("heads and neurons", published, "error", lambda rows: heads + neurons, _count, "units", _LLAMA),
        Reading(
            "heads and output coordinates of MLPs",
            published,
            "error",
            lambda rows: heads + outputs,
            _count,
            "units",
            _LLAMA,
        ),
        Reading("all contributions against the logit: largest error", "feasible", "error", largest, within_rounding),
        Reading(
            "bytes kept for one position over the weights'",
            "feasible",
            "memory",
            largest,
            _less_than_the_weights,
            "%",
        ),
    )


CLAIM = Claim(
    "every unit", "following each of some 130,000 units is feasible (Llama-3.1-8B)", ODONNELL, _measure, _readings
)
