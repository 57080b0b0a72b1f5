"""A model's folder, in either form, or its GGUF file, as its config, parameters and tokenizer."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from landed_jax.checkpoints.gguf.header import is_gguf, read_header
from landed_jax.checkpoints.gguf.metadata import config_of
from landed_jax.checkpoints.gguf.survey import survey_gguf
from landed_jax.checkpoints.gguf.tokenizer import open_gguf_vocabulary
from landed_jax.checkpoints.hf.adapter import ADAPTER_CONFIG, NONE, merge_adapter, refuse_adapter_beside
from landed_jax.checkpoints.hf.gate import config_from_hf, wrapper_of
from landed_jax.checkpoints.hf.hub import resolve_adapter
from landed_jax.checkpoints.hf.on_disk import params_on_disk
from landed_jax.checkpoints.hf.reader import Progress, check_values, read_params
from landed_jax.checkpoints.hf.survey import Survey, survey_checkpoint
from landed_jax.checkpoints.hf.tokenizer import open_vocabulary
from landed_jax.checkpoints.native import check_native, is_native, load_native, read_manifest, read_notes
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError
from landed_jax.files.atomic_folder import is_unfinished
from landed_jax.files.json_object import read_json_object
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from landed_jax.vocabulary import Vocabulary


@dataclass(frozen=True)
class Reading:
    """How a checkpoint in Hugging Face layout, or a GGUF file, is to be read.

    Attributes:
        ignore_fields: fields of config.json to read as if they were absent.
        adapter: a LoRA adapter to merge: a folder or a Hugging Face id; "none" leaves one out that lies beside the
            weights.
        dtype: what the weights of a GGUF file become; None for float32, and for floats as they are.
    """

    ignore_fields: Collection[str] = ()
    adapter: str | os.PathLike[str] | None = None
    dtype: Any = None


def open_folder(
    folder: Path,
    reading: Reading,
    notes: Notes,
    *,
    mesh: Mesh | None,
    stacked: bool,
    progress: Progress | None,
    stream: bool = False,
) -> tuple[ModelConfig, Params]:
    """The config and the parameters of a folder in Hugging Face layout, of a native one, or of a GGUF file.

    Args:
        stream: leave the matrices in the files (`params_on_disk`).

    Raises:
        LandedError: if it cannot be opened.
    """
    _refuse_unfinished(folder)
    if is_native(folder):
        if stream:
            raise LandedError(
                f"{folder} is a native folder, whose weights are read as a whole: stream (--stream) takes a checkpoint "
                "in Hugging Face layout or a GGUF file, and `landed convert --hf` writes one."
            )
        _check_native_reading(folder, reading)
        for text in read_notes(folder):
            notes.add(text)
        return load_native(folder, mesh, stacked)
    survey = survey_folder(folder, reading, notes)
    if stream:
        return survey.config, params_on_disk(survey)
    return survey.config, read_params(survey, mesh=mesh, stacked=stacked, progress=progress)


def survey_folder(folder: Path, reading: Reading, notes: Notes) -> Survey:
    """What the files of a folder in Hugging Face layout, or a GGUF file, hold. Reads no weights, and needs no device.

    Raises:
        LandedError: if its config is not honoured in full, it has no weights, or its adapter is not to be merged.
    """
    if is_gguf(folder):
        survey = survey_gguf(folder, reading.ignore_fields, reading.dtype, notes)
    else:
        _refuse_dtype(folder, reading)
        values = _config_values(folder)
        config = config_from_hf(values, reading.ignore_fields, notes)
        survey = survey_checkpoint(folder, config, notes, wrapper_of(values))
    if reading.adapter is None:
        refuse_adapter_beside(folder)
    elif reading.adapter != NONE:
        return merge_adapter(survey, resolve_adapter(reading.adapter), notes)
    return survey


def read_config_of(folder: Path, reading: Reading, notes: Notes) -> ModelConfig:
    """A model's config as its files say it, without a look at its weights."""
    if is_gguf(folder):
        return config_of(read_header(folder), reading.ignore_fields, notes)
    if is_native(folder):
        return read_manifest(folder)[0]
    return config_from_hf(_config_values(folder), reading.ignore_fields, notes)


def open_vocabulary_of(folder: Path, notes: Notes) -> tuple[Vocabulary | None, str]:
    """The tokenizer in a folder or a GGUF file; or None, and the sentence that says why there is none."""
    return open_gguf_vocabulary(folder) if is_gguf(folder) else open_vocabulary(folder, notes)


def check_folder(folder: Path, reading: Reading, notes: Notes) -> None:
    """Read everything and keep nothing. Needs no device.

    Raises:
        LandedError: for whatever would keep the model from being opened; a `Refusal` where there are several reasons.
    """
    _refuse_unfinished(folder)
    if is_native(folder):
        _check_native_reading(folder, reading)
        check_native(folder)
    else:
        check_values(survey_folder(folder, reading, notes))


def _config_values(folder: Path) -> dict[str, Any]:
    _refuse_unfinished(folder)
    if not (folder / "config.json").exists() and (folder / ADAPTER_CONFIG).exists():
        base = read_json_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
        raise LandedError(
            f"{folder} is an adapter, and no model: open the model that it was trained on ({base}) with --adapter "
            f"{folder} (adapter= in Python)."
        )
    return read_json_object(folder / "config.json")


def _refuse_unfinished(folder: Path) -> None:
    if is_unfinished(folder.absolute()):
        raise LandedError(
            f"{folder} is what an interrupted conversion left: convert again, which goes on with it, or delete it."
        )


def _refuse_dtype(folder: Path, reading: Reading) -> None:
    if reading.dtype is not None:
        raise LandedError(
            f"A dtype is chosen for the weights of a GGUF file alone: those in {folder} stay in their own types."
        )


def _check_native_reading(folder: Path, reading: Reading) -> None:
    _refuse_dtype(folder, reading)
    if reading.adapter not in (None, NONE):
        raise LandedError(
            f"{folder} is a native folder: merge the adapter as you convert (landed convert SRC DST --adapter …)."
        )
