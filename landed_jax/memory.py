"""What a call will need, from shapes alone: nothing is read, nothing is run."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from landed_jax.config import ModelConfig
from landed_jax.forward import forward
from landed_jax.nn.sites import WRITES, Site
from landed_jax.parameters import abstract_params


def trace_bytes(
    config: ModelConfig,
    *,
    batch: int = 1,
    length: int,
    positions: int | None = None,
    record: Iterable[Site] = WRITES,
    dtype: Any = None,
) -> dict[str, int]:
    """Bytes of the logits and of every recorded value that a trace keeps.

    Args:
        length: tokens a prompt.
        positions: how many of them are recorded; by default all.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> trace_bytes(config, length=3, dtype="float32")["neuron"]
    288
    """
    ids = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    at = jax.ShapeDtypeStruct((length if positions is None else positions,), jnp.int32)

    def run(params: Any, ids: jax.Array, at: jax.Array) -> Any:
        return forward(params, ids, config, record=frozenset(record), at=at, dtype=dtype)

    logits, trace = jax.eval_shape(run, abstract_params(config), ids, at)
    return {name: leaf.size * leaf.dtype.itemsize for name, leaf in {**trace.sown, "logits": logits}.items()}
