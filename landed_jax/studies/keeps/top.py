"""The largest writes of every prompt, and of all."""

import jax
import jax.numpy as jnp

from landed_jax.nn.largest import largest
from landed_jax.nn.runs import runs_in
from landed_jax.studies._measured import Keep, Kind, Measured, View, prompts_first

PER_PROMPT = 10
OVER_ALL = 100


def _measure(view: View) -> dict[str, Measured]:
    landed, config = view.attribution.landed, view.last.config
    heads, neurons = (prompts_first(part) for part in (landed.heads, landed.neurons))
    places = jnp.broadcast_to(jnp.arange(neurons.shape[-1], dtype=jnp.int32), neurons.shape)
    experts = view.attribution.experts
    if experts is not None:  # the axis of neurons is of the experts that a prompt chose
        each = jnp.repeat(prompts_first(experts).astype(jnp.int32), config.d_ff, axis=-1)
        places = each * config.d_ff + places % config.d_ff
    whole = max(config.n_experts, 1) * config.d_ff
    first = config.n_layers * config.n_heads
    layers = jnp.arange(config.n_layers, dtype=jnp.int32)[None, :, None]
    numbers = [jnp.arange(first, dtype=jnp.int32)[None], first + layers * whole + places]
    of_heads = heads.reshape(len(heads), -1), jnp.broadcast_to(numbers[0], (len(heads), first))
    parts = [of_heads, _largest_of_runs(neurons, numbers[1])]
    values, numbers = (jnp.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    _, order = jax.lax.top_k(jnp.abs(values), min(PER_PROMPT, values.shape[-1]))
    chosen, named = (jnp.take_along_axis(part, order, axis=-1) for part in (values, numbers))
    kind = Kind(("rank",), quantiles=False, top=OVER_ALL, pooled=True)
    return {
        "landed": Measured(chosen, kind, places=named),
        "write": Measured(named, Kind(("rank",), statistics=False)),
    }


def _largest_of_runs(values: jax.Array, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest of each run of neurons in all layers, ``[prompt, number]``: what each device can find of its own."""
    prompts, layers, size = values.shape
    runs = runs_in(size)

    def in_runs(part: jax.Array) -> jax.Array:
        return jnp.swapaxes(part.reshape(prompts, layers, runs, -1), 1, 2).reshape(prompts, runs, -1)

    values, numbers = in_runs(values), in_runs(numbers)
    # Of a prompt with numbers that are not finite nothing is kept, so it does not matter where they stand.
    _, order = largest(jnp.abs(values), min(PER_PROMPT, values.shape[-1]))

    def kept(part: jax.Array) -> jax.Array:
        return jnp.take_along_axis(part, order, axis=-1).reshape(prompts, -1)

    return kept(values), kept(numbers)


KEEP = Keep("top", _measure, help="the writes with the largest landed contributions, with their prompts")
