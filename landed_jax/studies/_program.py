"""The compiled program of a study: tokens in, what the keeps measure out."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from landed_jax.analysis.reads._questions import Logit, resolve
from landed_jax.analysis.scale._position_classes import class_members
from landed_jax.forward_pass import forward
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import WRITES, HookPoint, axes_of
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.parameters import Params
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.nn.weights_on_disk import any_on_disk
from landed_jax.studies._measured import Keep, Measured, View
from landed_jax.tasks._pairs import NO_ANSWER, answers_direction
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

# A whole program of few layers is compiled in a second or two and runs in half the time of its pieces; of more layers
# the pieces, which prompts of all lengths share, are worth it.
_WHOLE = 6


def measure(
    params: Params,
    tokens: Tokens,
    right: Int[Array, "batch answer"],
    wrong: Int[Array, "batch answer"],
    delimiter: Bool[Array, "batch position"],
    norms: WeightNorms | None,
    *,
    config: ModelConfig,
    keeps: tuple[Keep, ...],
    position: int,
    dtype: Any,
) -> tuple[dict[str, Measured], Int[Array, "class batch position"] | None]:
    """What the keeps measure of a batch, by ``keep.variable``, and each position's class where a keep looks at all.

    Args:
        right, wrong: ids of the answers, −1 where there are fewer; a prompt without one is asked for its likeliest
            next token.
        delimiter: which tokens are delimiters by their text.
        position: the column that is asked, negative, from the end.
    """
    program = _whole if config.n_layers <= _WHOLE and not any_on_disk(params) else _in_pieces
    how = {"config": config, "keeps": keeps, "position": position, "dtype": dtype}
    return program(params, tokens, right, wrong, delimiter, norms, **how)


def _measure(
    params: Params,
    tokens: Tokens,
    right: jax.Array,
    wrong: jax.Array,
    delimiter: jax.Array,
    norms: WeightNorms | None,
    *,
    config: ModelConfig,
    keeps: tuple[Keep, ...],
    position: int,
    dtype: Any,
) -> tuple[dict[str, Measured], jax.Array | None]:
    everywhere = any(keep.everywhere for keep in keeps)
    column = tokens.ids.shape[1] + position
    record = WRITES.union(*(keep.record for keep in keeps))
    at = None if everywhere else jnp.array([column], jnp.int32)
    _, trace = forward(params, tokens, config, record=record, at=at, dtype=dtype)
    trace = trace.bind(params)
    last = _at(trace, column) if everywhere else trace
    likeliest = resolve(last, Logit())
    assert likeliest.target is not None  # of a Logit
    top, read = likeliest.target[:, 0], likeliest
    if right.shape[1]:
        given = jnp.any(right != NO_ANSWER, axis=1)
        first = jnp.where(given, right[:, 0], top.astype(right.dtype))
        right = jnp.concatenate([first[:, None], right[:, 1:]], axis=1)
        read = resolve(last, answers_direction(params, config, right, wrong, dtype))
    else:
        right, wrong = top[:, None], jnp.full_like(top[:, None], NO_ANSWER)
    sources = class_members(tokens, jnp.arange(tokens.ids.shape[1]), delimiter)
    classes = jnp.take(sources, trace.at, axis=-1) if everywhere else None
    effects = any(keep.effects for keep in keeps)
    seen = View(trace if everywhere else None, last, read, top, right, wrong, classes, sources, effects, norms)
    found = {f"{keep.name}.{name}": value for keep in keeps for name, value in keep.measure(seen).items()}
    return found, classes


def _at(trace: Trace, column: int) -> Trace:
    """The trace at one column. A slice that is known when the program is compiled: the others are then never stored."""

    def cut(name: str, value: jax.Array) -> jax.Array:
        axes = axes_of(HookPoint(name))
        place = axes.index("position") if "position" in axes else None
        return value if place is None else jax.lax.slice_in_dim(value, column, column + 1, axis=place)

    sown = {name: cut(name, value) for name, value in trace.sown.items()}
    known = dataclasses.replace(trace.provenance, at=jnp.array([column], jnp.int32))
    return dataclasses.replace(trace, provenance=known, sown=sown)


_STATIC = ("config", "keeps", "position", "dtype")
_whole = partial(jax.jit, static_argnames=_STATIC)(_measure)
_in_pieces = partial(by_layers, static=_STATIC)(_measure)
