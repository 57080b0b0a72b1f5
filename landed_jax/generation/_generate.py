"""The loop over tokens: one compiled step, called as often as there are tokens to generate."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.generation._cache import Cache, Column, one_column, prefill, put
from landed_jax.generation._choose import choose
from landed_jax.generation._generation import Generation
from landed_jax.generation._limits import (
    check_count,
    check_draws,
    check_lengths,
    check_memory,
    checked_stops,
    known_stops,
)
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.intervention import Intervention, checked, flat
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.parameters import Params
from landed_jax.nn.sharding import beside
from landed_jax.numerics import compute_dtype, is_concrete
from landed_jax.processes import fetched
from landed_jax.tokens import Tokens, bucket_length, rows_of
from landed_jax.vocabulary import NumberedTokens

if TYPE_CHECKING:
    from landed_jax.model import Model


class Chosen(NamedTuple):
    """What a step found: the next token of each prompt, its logit, and whether the prompt goes on behind it."""

    ids: jax.Array
    logits: jax.Array
    going: jax.Array


def generate(
    model: "Model",
    prompts: Tokens,
    n: int,
    *,
    written: Sequence[str] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Any = None,
    interventions: Any = (),
    dtype: Any = None,
) -> tuple[Generation, list[str]]:
    """`Model.generate` of prompts that were read; and sentences to warn of.

    Args:
        written: each prompt as it was written; by default what its ids say.
    """
    check_count(n)
    check_draws(temperature, seed)
    if not np.asarray(prompts.mask)[:, -1].all():
        raise LandedError(
            "A prompt has padding at its end, where what is generated begins: pad on the left (Tokens.from_lists)."
        )
    config = model.config
    said = check_lengths(np.asarray(prompts.mask).sum(axis=-1).tolist(), n, config)
    folder, vocabulary = model.folder, model.vocabulary
    stops = known_stops(vocabulary, folder, config) if stop is None else checked_stops(stop, config)
    batch, length = prompts.ids.shape
    changes = checked(in_prompt(interventions, length), config, batch, length + n)
    # Interventions see the columns; without any, prompts of about the same length share their programs.
    computed = prompts if changes else prompts.bucketed()
    width = computed.ids.shape[1]
    capacity = width + n if changes else bucket_length(width + n)
    dtype = compute_dtype(dtype)
    check_memory(model.params, config, batch, capacity, dtype)
    computed = beside(model.params, computed)
    found = _tokens(model.params, computed, n, capacity, config, temperature, seed, stops, changes, dtype)
    ids, logits, going = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    # A prompt's tokens up to the one behind which it does not go on.
    texts = map((vocabulary or NumberedTokens()).decode, rows_of(prompts)) if written is None else written
    lengths = [int(np.argmin(row)) + 1 if not row.all() else len(row) for row in going]
    return (
        Generation(
            model,
            prompts,
            tuple(texts),
            tuple(tuple(row[:end].tolist()) for row, end in zip(ids, lengths, strict=True)),
            tuple(row[:end] for row, end in zip(logits, lengths, strict=True)),
            tuple("length" if row.all() else "stop" for row in going),
            temperature=float(temperature),
            seed=int(seed),
            interventions=changes,
        ),
        said,
    )


def in_prompt(interventions: Any, length: int) -> tuple[Intervention, ...]:
    """Interventions whose negative columns are counted from the prompts' end.

    Raises:
        LandedError: for a column before the prompts' first.
    """

    def counted(axis: str, places: Any) -> Any:
        if axis not in ("position", "source"):
            return places
        if is_concrete(places) and np.min(places) < -length:
            raise LandedError(f"There is no column {np.min(places)}: the prompts have {length}.")
        xp = np if is_concrete(places) else jnp
        return xp.where(places < 0, places + length, places)

    return tuple(
        Intervention(one.site, one.do, {axis: counted(axis, at) for axis, at in one.where.items()}, one.value)
        for one in flat(interventions)
    )


def _tokens(
    params: Params,
    prompts: Tokens,
    n: int,
    capacity: int,
    config: ModelConfig,
    temperature: float,
    seed: int,
    stops: tuple[int, ...],
    interventions: tuple[Intervention, ...],
    dtype: Any,
) -> Iterator[Chosen]:
    """Each step's tokens, as NumPy arrays, until every prompt has ended."""
    drawn = temperature > 0
    how: dict[str, Any] = {"config": config, "drawn": drawn}
    heat = np.float32(temperature) if drawn else None
    always: tuple[Any, ...] = (np.uint32(seed) if drawn else None, heat, np.array(stops, np.int32), interventions)
    chosen, cache = _first(params, prompts, *always, capacity=capacity, dtype=dtype, **how)
    for number in range(1, n):
        step: Any = np.int32(number)  # another is no other program
        # The next step is under way while this one's tokens are read.
        following, column = _next(params, cache, chosen, step, *always, **how)
        cache = _put(cache, column)
        found = fetched(chosen)
        yield found
        if not found.going.any():
            return
        chosen = following
    yield fetched(chosen)


@functools.partial(by_layers, static=("config", "capacity", "dtype", "drawn"))
def _first(
    params: Params,
    prompts: Tokens,
    seed: Any,
    temperature: Any,
    stops: jax.Array,
    interventions: tuple[Intervention, ...],
    *,
    config: ModelConfig,
    capacity: int,
    dtype: Any,
    drawn: bool,
) -> tuple[Chosen, Cache]:
    how: dict[str, Any] = {"capacity": capacity, "interventions": interventions, "dtype": dtype}
    logits, cache = prefill(params, prompts, config, **how)
    return _chosen(logits, jnp.ones(len(logits), bool), seed, jnp.int32(0), temperature, stops), cache


@functools.partial(by_layers, static=("config", "drawn"))
def _next(
    params: Params,
    cache: Cache,
    before: Chosen,
    step: jax.Array,
    seed: Any,
    temperature: Any,
    stops: jax.Array,
    interventions: tuple[Intervention, ...],
    *,
    config: ModelConfig,
    drawn: bool,
) -> tuple[Chosen, Column]:
    how: dict[str, Any] = {"real": before.going, "interventions": interventions}
    logits, column = one_column(params, cache, before.ids, config, **how)
    return _chosen(logits, before.going, seed, step, temperature, stops), column


# The cache's own memory is used again: of a long one a copy would take as long as the step.
_put = jax.jit(put, donate_argnums=0)


def _chosen(
    logits: jax.Array,
    going: jax.Array,
    seed: Any,
    step: jax.Array,
    temperature: Any,
    stops: jax.Array,
) -> Chosen:
    if seed is None:
        ids = choose(logits)
    else:
        ids = choose(logits, jax.random.fold_in(jax.random.key(seed), step), temperature)
    ended = jnp.any(ids[:, None] == stops[None], axis=-1)
    return Chosen(ids, jnp.take_along_axis(logits, ids[:, None], axis=-1)[:, 0], going & ~ended)
