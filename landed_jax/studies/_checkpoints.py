"""Checkpoints of one training: how they are named, which steps they are of, and that they are of one model."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landed_jax.checkpoints.gguf.header import is_gguf
from landed_jax.checkpoints.hf.hub import resolve, resolve_without_weights
from landed_jax.checkpoints.native import MANIFEST
from landed_jax.checkpoints.notes import Notes
from landed_jax.checkpoints.opening import Reading, open_vocabulary_of, read_config_of
from landed_jax.errors import LandedError
from landed_jax.files.kinds import expanded, is_folder
from landed_jax.loading import load
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.vocabulary import Vocabulary

Source = str | os.PathLike[str] | Model
Checkpoints = str | os.PathLike[str] | Sequence[Source] | Mapping[str, Source]
"""A folder of folders; or several models, or what `load` opens, with or without names."""

_STEP = re.compile(r"step[-_]?(\d+)|(?:^|[-_])(\d+)$", re.IGNORECASE | re.ASCII)
_MOST = 2**63 - 1  # of a step: the axis is int64
# What two checkpoints of one training have in common; the rest (rotary scaling, context) may change on the way.
_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ff", "n_experts", "vocab_size")


@dataclass(frozen=True)
class Checkpoint:
    """One model of a series.

    Attributes:
        name: unique in the series; its study's folder is called so.
        source: what `load` opens, or the model itself.
    """

    name: str
    source: Source

    @property
    def step(self) -> int | None:
        """The step that the name tells, if any."""
        return step_of(self.name)

    def open(self, **how: Any) -> Model:
        """The model; the arguments are those of `load`."""
        return self.source if isinstance(self.source, Model) else load(self.source, **how)


def step_of(name: str) -> int | None:
    """The step in a checkpoint's name: the number behind "step", or at the end behind ``-`` or ``_``, or all of it.

    >>> [step_of(name) for name in ("000100", "step512", "checkpoint-40", "stage1-step1000-tokens5B")]
    [100, 512, 40, 1000]
    >>> [step_of(name) for name in ("main", "model-v2", "9f2c1e77ab03", f"step{2**63}")]
    [None, None, None, None]
    """
    if (found := _STEP.search(name)) is None:
        return None
    digits = (found[1] or found[2]).lstrip("0") or "0"
    step = int(digits) if len(digits) <= len(str(_MOST)) else None
    return step if step is not None and step <= _MOST else None


def labels_of(names: Sequence[str]) -> list[int] | list[str]:
    """Steps, where every name tells a step and no two the same; otherwise the names.

    >>> labels_of(["step1", "step16"]), labels_of(["step1", "main"])
    ([1, 16], ['step1', 'main'])
    """
    steps = [step for name in names if (step := step_of(name)) is not None]
    return steps if len(steps) == len(names) and len(set(steps)) == len(steps) else list(names)


def checkpoints_of(models: Checkpoints) -> list[Checkpoint]:
    """The checkpoints that are meant, in their order; those of a folder by their steps.

    Args:
        models: a folder that holds the checkpoints' folders (what else is in it is left out); a sequence of what
            `load` opens, or of models; or a mapping from names to these.

    Raises:
        LandedError: for none, and for two of one name.
    """
    if isinstance(models, Mapping):
        found = [Checkpoint(_checked(str(name)), source) for name, source in models.items()]
    elif isinstance(models, str | os.PathLike):
        found = _inside(expanded(models))
    else:
        found = [Checkpoint(_checked(_name_of(source)), source) for source in models]
    if not found:
        raise LandedError("A series needs at least one checkpoint.")
    names = [checkpoint.name for checkpoint in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise LandedError(f"Two checkpoints are called {twice[0]!r}: a series needs a name for each.")
    return found


def _inside(folder: Path) -> list[Checkpoint]:
    if not is_folder(folder):
        raise LandedError(f"There is no folder {folder} of checkpoints.")
    inside = [path for path in folder.iterdir() if any((path / file).exists() for file in ("config.json", MANIFEST))]
    if not inside:
        raise LandedError(f"{folder} holds no checkpoints: none of its folders has a config.json.")
    return [Checkpoint(_checked(path.name), path) for path in sorted(inside, key=lambda path: order_of(path.name))]


def order_of(name: str) -> tuple[bool, int, str]:
    """By steps, and names without one behind all others."""
    step = step_of(name)
    return step is None, step or 0, name


def _name_of(source: Source) -> str:
    """The last part of a path, a revision, or the last part of an id."""
    text = source.source if isinstance(source, Model) else os.fspath(source)
    return text.rstrip("/").rpartition("@")[2].rpartition("/")[2]


def _checked(name: str) -> str:
    if not name or name.startswith(".") or set(name) & set("/\\:\0") or len(os.fsencode(name)) > 200:
        raise LandedError(f"{name!r} names no checkpoint: a study's folder is called like it.")
    return name


def check_alike(checkpoints: Sequence[Checkpoint]) -> ModelConfig:
    """Refuse checkpoints that are not there, or not of one model, before the weights of any are read.

    Returns:
        The first one's config.

    Raises:
        LandedError: naming the checkpoint.
    """
    first, *others = checkpoints
    known, theirs = _described(first)
    for checkpoint in others:
        config, words = _described(checkpoint)
        check_sizes(first.name, known, checkpoint.name, config)
        if words != theirs:
            raise LandedError(f"The checkpoints {first.name} and {checkpoint.name} have different vocabularies.")
    return known


def check_sizes(name: str, config: ModelConfig, other: str, its: ModelConfig) -> None:
    """Refuse two checkpoints of different sizes.

    Raises:
        LandedError: naming both, and the sizes.
    """
    apart = [
        f"{field} {getattr(config, field)} and {getattr(its, field)}"
        for field in _SIZES
        if getattr(config, field) != getattr(its, field)
    ]
    if apart:
        raise LandedError(f"The checkpoints {name} and {other} are not of one model: {', '.join(apart)}.")


def _described(checkpoint: Checkpoint) -> tuple[ModelConfig, dict[str, int] | None]:
    """A checkpoint's config, and its tokens by their text; None without a tokenizer."""
    source = checkpoint.source
    if isinstance(source, Model):
        return source.config, _words(source.vocabulary)
    folder = resolve(source) if is_gguf(expanded(source)) else resolve_without_weights(source)
    config = read_config_of(folder, Reading(), Notes())  # `load` gives the notes
    vocabulary, _ = open_vocabulary_of(folder, Notes())
    return config, _words(vocabulary)


def _words(vocabulary: Vocabulary | None) -> dict[str, int] | None:
    return None if vocabulary is None else dict(vocabulary.tokenizer.get_vocab())
