"""The landed contribution of every head, neuron and layer's MLP to the asked value."""

import jax.numpy as jnp

from landed_jax.nn.per_write import PerWrite
from landed_jax.studies._measured import Keep, Kind, Measured, View, prompts_first

_SIGN = (0.0,)  # the share of prompts above it
MLPS = Kind(("layer",), above=_SIGN)


def per_component(part: PerWrite, *, experts: bool, mlp: Measured | None = None) -> dict[str, Measured]:
    """Heads, each layer's MLP and, where a layer has one set of neurons, each neuron.

    Args:
        experts: whether the axis of neurons is of the experts that each prompt chose, and so has no statistics.
        mlp: where it is not the sum over the neurons.
    """
    found = {
        "embedding": Measured(sum(part.embeddings.values(), start=jnp.zeros_like(part.embedding))[:, 0]),
        "heads": Measured(
            prompts_first(part.heads), Kind(("layer", "head"), above=_SIGN, top=3, ranked=("layer", "head"))
        ),
        "mlp": mlp or Measured(prompts_first(part.mlp), MLPS),
    }
    if not experts:
        kind = Kind(("layer", "neuron"), row=False, quantiles=False, above=_SIGN)
        found["neurons"] = Measured(prompts_first(part.neurons), kind)
    return found


def _measure(view: View) -> dict[str, Measured]:
    found = view.attribution
    return {
        "value": Measured(found.value[:, 0]),
        "closure_error": Measured(found.closure_error[:, 0]),
        "top_token": Measured(view.top, Kind(statistics=False)),
        **per_component(found.landed, experts=view.last.config.n_experts > 0),
    }


KEEP = Keep("attribution", _measure, help="landed contributions of heads, neurons and each layer's MLP")
