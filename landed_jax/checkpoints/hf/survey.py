"""What the files of a checkpoint hold, tensor by tensor of the table: found by name, compared by shape and type.

Nothing is placed on a device here, and no values are read but those of two tables that may be one.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.files import Found, Stored, chunks_of, find_tensors
from landed_jax.checkpoints.hf.names import (
    TEXT_MODEL,
    is_unused,
    is_value_head,
    match_names,
    part_of,
    plain_name,
    some,
)
from landed_jax.checkpoints.hf.table import embedding_name, tensor_places, unembedding_name
from landed_jax.checkpoints.notes import Notes
from landed_jax.families import Wrapper
from landed_jax.nn.config import ModelConfig


@dataclass(frozen=True)
class Survey:
    """A checkpoint's tensors.

    Attributes:
        folder: where they are; for another format the file.
        config: the architecture; untied where the config ties two tables that the file holds with different values.
        sound: by the table's names, the tensors that are as the table says.
        problems: everything that is not, its causes first.
    """

    folder: Path
    config: ModelConfig
    sound: dict[str, Stored]
    problems: list[str]

    @property
    def size(self) -> int:
        """Bytes of the sound tensors."""
        return sum(math.prod(s.shape) * FLOATS[s.dtype].itemsize for s in self.sound.values())


def survey_checkpoint(
    folder: Path, config: ModelConfig, notes: Notes | None = None, wrapper: Wrapper | None = None
) -> Survey:
    """Compare the files of a checkpoint with the table of its architecture.

    Args:
        folder: holds ``model.safetensors``, or shards and their index.
        notes: where it is recorded that names have prefixes, or that a tied model has two tables.
        wrapper: the kind of larger model that this one is a part of.

    Raises:
        LandedError: if the folder has no safetensors checkpoint.
    """
    return survey_found(folder, find_tensors(folder), config, notes, wrapper)


def survey_found(
    folder: Path, found: Found, config: ModelConfig, notes: Notes | None = None, wrapper: Wrapper | None = None
) -> Survey:
    """Compare what was found in `folder`, or in a file of another format, with the table of an architecture."""
    notes = notes or Notes()
    if 0 < len(found.tensors) < config.n_layers:  # before a table of all layers is made
        held = f"the config has {config.n_layers} layers, and the files hold {len(found.tensors)} tensors in all"
        return Survey(folder, config, {}, [held, *found.causes])
    wanted = {place.name: place.entry.shape(config) for place in tensor_places(config)}
    embedding, unembedding = embedding_name(config), unembedding_name(config)
    known = {*wanted, unembedding}
    naming = match_names(found.tensors, known, embedding)
    if naming.cause is not None and not found.causes:
        return Survey(folder, config, {}, [naming.cause])
    if wrappers := [taken for taken in naming.wrappers if wrapper is None or taken != TEXT_MODEL]:
        notes.warn(f"the names of tensors in {folder} were read without {' and '.join(wrappers)}")
    stored = {plain: found.tensors[name] for plain, name in naming.stored.items()}
    problems = [*found.causes, *naming.problems]
    if config.tie_embeddings and unembedding in stored:
        head = stored.pop(unembedding)
        if embedding not in stored:
            stored[embedding] = head
        elif not same_values(head, stored[embedding]):
            config = dataclasses.replace(config, tie_embeddings=False)
            stored[unembedding], wanted[unembedding] = head, wanted[embedding]
            notes.warn(
                f"config.json ties {unembedding} to {embedding}, but {folder} holds both with different values: they "
                "were read as two tables, as transformers does"
            )
    problems += [said for name, said in found.misplaced if plain_name(name, wanted) is not None]
    sound = _match(stored, wanted, _explained(found, known), problems)
    others = {name: part_of(name) for name in naming.left if wrapper is not None and part_of(name) in wrapper.parts}
    if others:
        notes.add(f"of the model in {folder} only the text model was read, without {some(sorted({*others.values()}))}")
    left = [name for name in naming.left if name not in others]
    surplus = [name for name in left if not is_unused(name, config.family) and not is_value_head(name)]
    problems += [f"{n} {list(found.tensors[n].shape)} is left over: this model has no such tensor" for n in surplus]
    if not surplus and (heads := [name for name in left if is_value_head(name)]):
        notes.warn(f"the value head in {folder} ({some(heads)}) was left out: no logit depends on it")
    return Survey(folder, config, sound, problems)


def _match(
    stored: dict[str, Stored], wanted: dict[str, tuple[int, ...]], explained: set[str] | None, problems: list[str]
) -> dict[str, Stored]:
    """The tensors that agree with the table; every disagreement is added to `problems`."""
    sound = {}
    missing = []
    for name, shape in wanted.items():
        tensor = stored.get(name)
        if tensor is None:
            if explained is not None and name not in explained:
                missing.append(f"{name} {list(shape)} is missing")
        elif tensor.shape != shape:
            problems.append(f"{tensor.name} has shape {list(tensor.shape)}, not {list(shape)}")
        elif tensor.dtype not in FLOATS:
            problems.append(f"{tensor.name} is of type {tensor.dtype}, not one of {', '.join(FLOATS)}")
        else:
            sound[name] = tensor
    problems += missing
    return sound


def _explained(found: Found, known: set[str]) -> set[str] | None:
    """The table's names of tensors of which another problem says why they are missing; None for all."""
    if found.unread is None:
        return None
    names = found.unread.union(name for name, _ in found.misplaced)
    return {plain for name in names if (plain := plain_name(name, known)) is not None}


def same_values(head: Stored, embedding: Stored) -> bool:
    """Whether two tables hold the same numbers; where they cannot be compared, they do not."""
    if head.shape != embedding.shape or len(head.shape) != 2 or not {head.dtype, embedding.dtype} <= set(FLOATS):
        return False
    return all(
        np.array_equal(head.read(rows).astype(np.float64), embedding.read(rows).astype(np.float64))
        for rows in chunks_of(embedding)
    )
