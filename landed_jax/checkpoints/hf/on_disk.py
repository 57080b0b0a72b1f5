"""Parameters whose matrices stay in a checkpoint's files: read when a computation comes to them, and checked then."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError

from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.files import Stored
from landed_jax.checkpoints.hf.reader import Reader, groups_of, refusal
from landed_jax.checkpoints.hf.survey import Survey
from landed_jax.checkpoints.hf.table import Place
from landed_jax.errors import LandedError, first_line
from landed_jax.nn.parameters import Leaf, Params, build_tree
from landed_jax.nn.parameters import Path as ParamPath
from landed_jax.nn.weights_on_disk import WeightOnDisk


def params_on_disk(survey: Survey) -> Params:
    """The parameters of a surveyed checkpoint: gains and biases in memory, matrices as `WeightOnDisk`.

    Values of matrices are checked to be finite each time they are read.

    Raises:
        LandedError: as `read_params` does, for all that the files' headers and the small tensors show.
    """
    problems = list(survey.problems)
    groups = groups_of(survey, False, problems)
    reader = Reader(survey.config, None, survey.size)
    if problems:  # all values are checked, so that one error lists all faults
        reader.check_all(survey.sound)
        raise refusal(survey, problems + reader.not_finite())
    files = _Files({file for stored in survey.sound.values() for file in stored.files})
    leaves: list[tuple[ParamPath, Any]] = []
    for path, group in groups:
        stored = [survey.sound[place.name] for place in group]
        if is_matrix(group[0].leaf):
            leaves.append((path, _on_disk(survey, group, stored, files)))
        else:
            leaves.append((path, reader.place(group, stored, None, False)))
    if bad := reader.not_finite():
        raise refusal(survey, bad)
    return build_tree(iter(leaves))


def is_matrix(leaf: Leaf) -> bool:
    """Whether a leaf is one of those that make up nearly all of a model's bytes."""
    return leaf.init == "normal" and len(leaf.axes) > 1


class _Files:
    """The files of a checkpoint as they were when it was opened."""

    def __init__(self, files: set[Path]) -> None:
        self.states = {file: _state(file) for file in files}

    @contextlib.contextmanager
    def unchanged(self, files: set[Path]) -> Iterator[None]:
        """Refuse what was read out of files that are not what they were."""
        try:
            yield
        except (SafetensorError, OSError, LandedError) as error:
            self._check(files)
            raise LandedError(f"{min(files)} cannot be read any more ({first_line(error)}).") from error
        self._check(files)

    def _check(self, files: set[Path]) -> None:
        for file in sorted(files):
            if self.states[file] != _state(file):
                raise LandedError(
                    f"{file} was changed after the model was opened, whose weights stay there: open it again."
                )


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _on_disk(survey: Survey, group: list[Place], stored: list[Stored], files: _Files) -> WeightOnDisk:
    entry, dtype = group[0].entry, FLOATS[stored[0].dtype]
    shape, own_files = group[0].leaf.shape(survey.config), {file for each in stored for file in each.files}

    @contextlib.contextmanager
    def reader() -> Iterator[Reader]:
        reader = Reader(survey.config, None, survey.size)
        with files.unchanged(own_files):
            yield reader
        if bad := reader.not_finite():
            raise refusal(survey, bad)

    def read() -> jax.Array:
        with reader() as opened:
            return opened.place(group, stored, None, False)

    def read_rows(rows: np.ndarray) -> np.ndarray:
        found, rest = np.empty((len(rows), *shape[1:]), dtype), [slice(0, size) for size in shape[1:]]
        with reader() as opened:
            for out, row in zip(found, rows.tolist(), strict=True):
                if entry.by_expert:
                    opened.fill(out, stored[row], entry, tuple(rest), row)
                else:
                    opened.fill(out[None], stored[0], entry, (slice(row, row + 1), *rest))
        return found

    return WeightOnDisk(shape, dtype, read, read_rows)
