"""The bytes of a trace from shapes alone are those of the trace."""

import jax
import jax.numpy as jnp
import pytest

from landed_jax import HookPoint, forward
from landed_jax.memory.estimates import trace_bytes
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import abstract_params
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
