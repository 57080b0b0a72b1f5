"""One neuron's number out of a layer's, in models with experts too."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from landed_jax.nn.hook_points import HookPoint
from landed_jax.trace import Trace


def of_neuron(trace: Trace, values: jax.Array, place: Sequence[int]) -> jax.Array:
    """One neuron's number at each position, ``[batch, position]``: 0 where a position did not choose its expert.

    Args:
        trace: of a model with experts those of every position recorded.
        values: of all neurons of its layer, ``[batch, position, neuron]``.
        place: ``(layer, index)``; or ``(layer, expert, index)``, where without the expert all chosen ones' are summed.
    """
    d_ff = trace.config.d_ff
    if not trace.config.n_experts:
        return values[..., place[-1]]
    of_slot = values.reshape(*values.shape[:2], -1, d_ff)[..., place[-1]]
    mine = trace[HookPoint.EXPERT][place[0]] == place[1] if len(place) == 3 else jnp.ones_like(of_slot, bool)
    return jnp.sum(jnp.where(mine, of_slot, 0), axis=-1)
