"""What surrounds a training program's parameters: their config, in any form that users have, and a tokenizer."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.hub import resolve_without_weights
from landed_jax.checkpoints.hf.tokenizer import open_vocabulary
from landed_jax.checkpoints.notes import Notes
from landed_jax.checkpoints.opening import Reading, read_config_of
from landed_jax.nn.config import ModelConfig
from landed_jax.vocabulary import Vocabulary

ConfigLike = ModelConfig | Mapping[str, Any] | str | os.PathLike[str]
"""A config; the fields of a config.json; or a folder or Hugging Face id that has one."""


class Described(NamedTuple):
    """A model's facts without its weights; `folder` is the tokenizer's."""

    config: ModelConfig
    vocabulary: Vocabulary | None
    folder: Path | None
    no_vocabulary: str


def described(config: ConfigLike, tokenizer: str | os.PathLike[str] | None, notes: Notes) -> Described:
    """A config and a tokenizer; by default that of the folder of the config, where it is one.

    Raises:
        LandedError: if either cannot be found, or the config is not supported.
    """
    place = None if tokenizer is None else resolve_without_weights(tokenizer)
    if isinstance(config, Mapping):
        config = config_from_hf(dict(config), notes=notes)
    elif not isinstance(config, ModelConfig):
        folder = resolve_without_weights(config)
        place = place or folder
        config = read_config_of(folder, Reading(), notes)
    if place is None:
        return Described(config, None, None, "No tokenizer was given beside these parameters (tokenizer=).")
    vocabulary, why = open_vocabulary(place, notes)
    return Described(config, vocabulary, place, why)
