"""The bytes of a trace from shapes alone are those of the trace."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landed_jax import HookPoint, forward, load
from landed_jax.interventions._runs import Runs
from landed_jax.interventions._stages import Span, after_layer, layer_params
from landed_jax.memory.estimates import sweep_bytes, trace_bytes
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import abstract_params
from landed_jax.tokens import Tokens
from tests.models import BIASED, SMALL


@pytest.mark.parametrize("config", [SMALL, BIASED], ids=["small", "biased"])
@pytest.mark.parametrize("positions", [None, 2])
def test_every_recorded_value_has_its_size(config: ModelConfig, positions: int | None) -> None:
    at = None if positions is None else jnp.arange(positions)

    def run(params: dict, ids: jax.Array) -> tuple:
        return forward(params, ids, config, record=frozenset(HookPoint), at=at)

    logits, trace = jax.eval_shape(run, abstract_params(config), jax.ShapeDtypeStruct((3, 5), jnp.int32))
    expected = {name: leaf.size * leaf.dtype.itemsize for name, leaf in {**trace.sown, "logits": logits}.items()}
    found = trace_bytes(config, batch=3, length=5, positions=positions, record=frozenset(HookPoint))
    assert found == expected


@pytest.mark.xla
@pytest.mark.parametrize("length", [16, 150])
def test_a_run_of_a_sweep_takes_about_what_is_estimated(length: int) -> None:
    """One layer's values of several runs, as the compiler has them in memory at once."""
    model, runs = load(), 6
    tokens = Tokens.from_lists([list(range(1, 1 + length))])
    base = Runs.of(model, tokens, (), jnp.array([length - 1]), 5, jnp.dtype("float32"), watch=False)
    x = jnp.broadcast_to(base.stream[0], (runs, *base.stream.shape[1:]))
    how: Any = {"config": model.config, "kind": base.kinds[0], "span": Span(0, length), "runs": runs, "last": False}
    part = layer_params(model.params, 0)
    how |= {"tree": jax.tree.structure(()), "axes": (), "together": False}
    lowered = after_layer.lower(part, x, np.int32(0), base.shared, (), base.at, None, **how)
    memory = lowered.compile().memory_analysis()
    needed = (memory.temp_size_in_bytes + memory.output_size_in_bytes + x.nbytes) / runs
    assert 0.5 <= sweep_bytes(model.config, length=length)["run"] / needed <= 2
