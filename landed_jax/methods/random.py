"""A random ranking, the same at every call for the same prompt: what any method has to beat."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from landed_jax.interventions._gradients import recorded
from landed_jax.methods._method import Method
from landed_jax.methods._parts import value_of
from landed_jax.methods._scores import Scores
from landed_jax.model import Model
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import Tokens


def score(model: Model, pairs: Pairs, /, *, dtype: Any = None) -> Scores:
    """Normal numbers, drawn from each prompt's own tokens."""
    config, trace = model.config, recorded(model, pairs.clean, (), dtype=dtype)
    value = value_of(model, pairs, trace)
    shapes = (config.n_layers, config.n_heads), (config.n_layers, config.d_ff), pairs.clean.ids.shape[1:]
    heads, neurons, tokens = _drawn(pairs.clean, shapes, value.dtype)
    heads, neurons = (jnp.moveaxis(numbers, 1, 0) for numbers in (heads, neurons))
    neurons, tokens = None if config.n_experts else neurons, jnp.where(pairs.clean.mask, tokens, 0)
    return Scores(heads, neurons, tokens, value=value, provenance=trace.provenance)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _drawn(tokens: Tokens, shapes: tuple[tuple[int, ...], ...], dtype: Any) -> list[jax.Array]:
    """For each prompt an array of each shape."""

    def of_prompt(key: jax.Array) -> list[jax.Array]:
        keys = jax.random.split(key, len(shapes))
        return [jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True)]

    return jax.vmap(of_prompt)(_keys(tokens))


def _keys(tokens: Tokens) -> jax.Array:
    """One key a prompt, of its own ids: padding has no part in it."""

    def of_prompt(ids: jax.Array, mask: jax.Array) -> jax.Array:
        def step(key: jax.Array, token: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            number, real = token
            data = jax.random.key_data(key)
            folded = jax.random.key_data(jax.random.fold_in(key, number))
            return jax.random.wrap_key_data(jnp.where(real, folded, data)), None

        return jax.lax.scan(step, jax.random.key(0), (ids, mask))[0]

    return jax.vmap(of_prompt)(tokens.ids, tokens.mask)


METHOD = Method("random", score, "", "", corrupted=False)
