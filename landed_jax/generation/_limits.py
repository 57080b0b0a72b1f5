"""What can be generated, and where it ends: checked before anything is computed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.errors import LandedError, shown
from landed_jax.files.json_object import read_json_object
from landed_jax.memory.estimates import weight_bytes
from landed_jax.memory.host import device_memory
from landed_jax.memory.shortage import require_memory
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from landed_jax.tokens import check_id
from landed_jax.trace_padding import is_on_one_device
from landed_jax.vocabulary import Vocabulary

_COLDEST = 1e-6
_FILES = ("generation_config.json", "config.json")  # the first that names one, as in transformers


def check_count(n: object) -> None:
    """Refuse what is no number of tokens.

    Raises:
        LandedError: for what is no whole number, and one below 1.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise LandedError(f"{shown(n)} is no number of tokens to generate: give a whole number from 1 on.")


def check_draws(temperature: object, seed: object) -> None:
    """Refuse a temperature or a seed that nothing can be drawn with.

    Raises:
        LandedError: for a temperature that is no finite number from 0 on, a seed that is no whole number of 32 bits.
    """
    heat: Any = temperature
    number = isinstance(heat, int | float | np.number) and not isinstance(heat, bool)
    if not number or not 0 <= heat < math.inf:
        raise LandedError(f"{shown(temperature)} is no temperature: give a number from 0 on (0: the likeliest token).")
    if 0 < heat < _COLDEST:
        raise LandedError(
            f"{shown(temperature)} is too cold to divide float32 logits by: give 0 for the likeliest token."
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise LandedError(f"{shown(seed)} is no seed: give a whole number from 0 to {2**32 - 1}.")


def check_lengths(lengths: Sequence[int], n: int, config: ModelConfig) -> list[str]:
    """A sentence to warn of where prompts and `n` more tokens are longer than the model was made for.

    Raises:
        LandedError: where the model has no position for them; or where its rotary embedding would become another one on
            the way, so that what is in the cache would no longer be what the model computes.
    """
    longest = max(lengths)
    total, most = longest + n, config.max_positions
    said = f"The prompt has {longest} tokens, and {n} more make {total}"
    if config.learned_positions and total > most:
        raise LandedError(f"{said}, but this model learned no position beyond {most}: {_at_most(most - longest)}.")
    for rope in config.ropes:
        if rope.kind == "dynamic" and total > most:
            raise LandedError(
                f"{said}, but this model's rotary embedding changes with every token beyond {most}: "
                f"{_at_most(most - longest)}."
            )
        # A prompt is rotated by one of two lists of factors, by its length.
        ends = rope.original_max_positions
        if rope.kind == "longrope" and (crossing := [length for length in lengths if length <= ends < length + n]):
            raise LandedError(
                f"A prompt of {max(crossing)} tokens and {n} more cross {ends} tokens, where this model's rotary "
                f"embedding becomes another: {_at_most(ends - max(crossing))}."
            )
    if total <= most:
        return []
    return [f"the prompt and what is generated have up to {total} tokens, more than the {most} this model was made for"]


def check_memory(params: Params, config: ModelConfig, batch: int, capacity: int, dtype: Any) -> None:
    """Refuse a cache that cannot fit.

    Raises:
        LandedError: where weights and cache are more than the device's memory, as far as that is known.
    """
    keys_and_values = 2 * config.n_kv_heads * config.head_dim
    a_column = config.n_layers * keys_and_values * np.dtype(dtype).itemsize
    if is_on_one_device(params):
        least = weight_bytes(params) + batch * capacity * a_column
        require_memory(
            least, device_memory(), f"This model and a cache of {capacity:,} columns", "Generate fewer tokens."
        )


def _at_most(room: int) -> str:
    return f"generate at most {room}" if room > 0 else "give a shorter prompt"


def known_stops(vocabulary: Vocabulary | None, folder: Path | None, config: ModelConfig) -> tuple[int, ...]:
    """The ids that end a text: the tokenizer's own, and those of ``generation_config.json`` or ``config.json``."""
    found: list[Any] = [None if vocabulary is None else vocabulary.end_id]
    for path in [] if folder is None else [folder / name for name in _FILES]:
        values = read_json_object(path) if path.is_file() else {}
        named = values.get("eos_token_id", (values.get("text_config") or {}).get("eos_token_id"))
        if named is not None:
            found += named if isinstance(named, list) else [named]
            break
    ids = [one for one in found if isinstance(one, int) and not isinstance(one, bool)]
    return tuple(dict.fromkeys(one for one in ids if 0 <= one < config.vocab_size))


def checked_stops(stop: Any, config: ModelConfig) -> tuple[int, ...]:
    """The ids that a user gives: one, or several, or none.

    Raises:
        LandedError: for what is no id of this model.
    """
    ids = list(stop) if isinstance(stop, Sequence | np.ndarray) else [stop]
    for one in ids:
        check_id(one, config.vocab_size)
    return tuple(dict.fromkeys(int(one) for one in ids))
