"""LoRA adapters in PEFT's format: found beside weights, read, and merged into them as they are read.

A merged weight is W + s·B·A, computed in float64 and rounded once to the weight's own type, with s = alpha / r, or
alpha / √r where the adapter says use_rslora (https://arxiv.org/abs/2106.09685, https://arxiv.org/abs/2312.03732).
"""

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.hf.files import Stored, open_tensors
from landed_jax.checkpoints.hf.names import plain_name
from landed_jax.checkpoints.hf.survey import Survey, same_values
from landed_jax.checkpoints.hf.table import Index, embedding_name, tensor_places, unembedding_name
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, Refusal
from landed_jax.files.json_object import read_json_object

NONE = "none"
"""The adapter's name by which one beside the weights is left out. A folder of the same name is ``./none``."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"

_PAIR = re.compile(r"(?P<module>.+)\.lora_(?P<which>[AB])(?:\.default)?\.weight")
_PLAIN_PATTERN = re.compile(r"\^?[\w.]+")
# Fields of the adapter's config that say where it comes from, how it was trained, or what its tensors say as well.
_HARMLESS = frozenset(
    {"base_model_name_or_path", "revision", "task_type", "inference_mode", "auto_mapping", "peft_version"}
    | {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "megatron_core"}
    | {"runtime_config", "qalora_group_size", "eva_config", "loftq_config", "ensure_weight_tying"}
)
# Other ways to begin a training change the base model's weights too, and the adapter fits only the changed ones.
_INITS = (None, True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class Merged(Stored):
    """A weight with an adapter's product added as it is read.

    Attributes:
        weight: the weight without it.
        down: A, ``[r, in]``.
        up: B, ``[out, r]``.
        scale: s.
    """

    weight: Stored
    down: Stored
    up: Stored
    scale: float

    @property
    def files(self) -> frozenset[Path]:
        return self.weight.files | self.down.files | self.up.files

    def read(self, index: Index) -> np.ndarray:
        weight = self.weight.read(index)
        rows, *columns = index
        up = self.up.read((rows, slice(None))).astype(np.float64)
        down = self.down.read((slice(None), *columns)).astype(np.float64)
        return (weight.astype(np.float64) + self.scale * (up @ down)).astype(weight.dtype)


def adapter_beside(folder: Path) -> str | None:
    """The name of an adapter's file in a folder, or None."""
    names = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, _PICKLE)
    return next((name for name in names if (folder / name).exists()), None)


def refuse_adapter_beside(folder: Path) -> None:
    """Refuse weights with an adapter beside them unless the caller says whether to apply it.

    Raises:
        LandedError: naming it.
    """
    if (name := adapter_beside(folder)) is not None:
        raise LandedError(
            f"{folder} holds an adapter ({name}) beside the weights: merge it with --adapter {folder} (adapter= in "
            f"Python), or read the weights alone with --adapter {NONE}."
        )


def merge_adapter(survey: Survey, folder: Path, notes: Notes) -> Survey:
    """A survey whose weights are read with the LoRA adapter of `folder` merged into them.

    Raises:
        LandedError: listing everything of the adapter that is not honoured, or does not fit the model.
    """
    problems: list[str] = []
    fields = Fields(read_json_object(folder / ADAPTER_CONFIG), problems, f"{ADAPTER_CONFIG}: ")
    settings = _settings(fields)
    if not (folder / ADAPTER_WEIGHTS).exists() and (folder / _PICKLE).exists():
        problems.append(
            f"its weights are there only as {_PICKLE}, a pickle, and opening it executes whatever code is in it: save "
            "the adapter as safetensors"
        )
    else:
        tensors = list(open_tensors(folder / ADAPTER_WEIGHTS, problems))
        pairs = _pairs(tensors, survey, problems)
    if not problems:
        merged = {name: _merged(survey.sound[name], *pair, settings, problems) for name, pair in pairs.items()}
        if not problems:
            notes.add(f"the adapter {folder} was merged into {len(merged)} weights")
            return dataclasses.replace(survey, sound=survey.sound | merged)
    raise Refusal(f"The adapter in {folder} cannot be merged", problems)


@dataclass(frozen=True)
class _Settings:
    rank: int
    alpha: float
    root: bool
    ranks: dict[str, Any]
    alphas: dict[str, Any]


def _settings(fields: Fields) -> _Settings:
    if (kind := fields.take("peft_type")) != "LORA":
        fields.refuse("peft_type", "only LORA adapters are merged")
        if kind is not None:  # its other fields have other meanings
            return _Settings(1, 1.0, False, {}, {})
    if fields.take("init_lora_weights") not in _INITS:
        fields.refuse("init_lora_weights", "it changed the base model's weights too, which are not those read here")
    if fields.take("bias", "none") != "none":
        fields.refuse("bias", "only adapters without biases are merged")
    settings = _Settings(
        fields.whole("r", 8),
        fields.number("lora_alpha", 8.0),
        fields.flag("use_rslora", False),
        _patterns(fields, "rank_pattern"),
        _patterns(fields, "alpha_pattern"),
    )
    for name in fields.unread():
        if name not in _HARMLESS and fields.values[name] not in (None, False, [], {}):
            fields.refuse(name, "not honoured as an adapter is merged")
    return settings


def _patterns(fields: Fields, name: str) -> dict[str, Any]:
    """A table by module names, as PEFT writes it: names or their ends; ``^`` begins a whole name."""
    table = fields.take(name) or {}
    if not isinstance(table, dict):
        fields.refuse(name, "not an object")
        return {}
    for key, value in table.items():
        if not _PLAIN_PATTERN.fullmatch(key):
            fields.problems.append(f"{fields.where}{name} has the key {key!r}, which is not a module's name")
        elif type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            fields.problems.append(f"{fields.where}{name} has {value!r} for {key}, not a number above 0")
    return table


def _chosen(table: dict[str, Any], module: str, otherwise: float) -> float:
    """The first entry of a table that is for this module."""
    for key, value in table.items():
        whole = key.removeprefix("^")
        if module == whole or (key == whole and module.endswith(f".{whole}")):
            return value
    return otherwise


def _pairs(tensors: Iterable[Stored], survey: Survey, problems: list[str]) -> dict[str, tuple[Stored, Stored]]:
    """A and B by the table's name of the weight that they are for."""
    embedding, unembedding = embedding_name(survey.config), unembedding_name(survey.config)
    places = list(tensor_places(survey.config))
    transposed = {place.name for place in places if place.entry.transposed}
    tables = {embedding, *(place.name for place in places if place.path[0] == "embed")}
    halves: dict[str, dict[str, Stored]] = {}
    for tensor in tensors:
        found = _PAIR.fullmatch(tensor.name)
        if found is None:
            _check_copy(tensor, survey, problems)
            continue
        module = found["module"]
        weight = plain_name(f"{module}.weight", survey.sound)
        if weight is None and plain_name(f"{module}.weight", (unembedding,)) and survey.config.tie_embeddings:
            problems.append(f"{tensor.name} adapts {unembedding}, which is tied to {embedding} in this model")
        elif weight is None or len(survey.sound[weight].shape) != 2 or weight in tables:
            problems.append(f"{tensor.name} adapts {module}, which is no linear weight of this model")
        elif weight in transposed:
            problems.append(f"{tensor.name} adapts {module}, whose weight has its inputs first: that is not merged")
        elif tensor.dtype not in FLOATS or len(tensor.shape) != 2:
            problems.append(f"{tensor.name} is {tensor.dtype} {list(tensor.shape)}, not a matrix of floats")
        elif found["which"] in halves.setdefault(weight, {}):
            problems.append(f"{tensor.name} is there under two names")
        else:
            halves[weight][found["which"]] = tensor
    for half, *other in (list(pair.values()) for pair in halves.values() if pair):
        if not other:
            problems.append(f"{half.name} is there without the other half of its pair")
    if not halves and not problems:
        problems.append(f"{ADAPTER_WEIGHTS} holds no tensors")
    return {weight: (pair["A"], pair["B"]) for weight, pair in sorted(halves.items()) if len(pair) == 2}


def _check_copy(tensor: Stored, survey: Survey, problems: list[str]) -> None:
    """Check a tensor that is no part of the adapter: PEFT saves adapted embeddings and unembeddings beside it."""
    own = plain_name(tensor.name.replace(".base_layer.", "."), survey.sound)
    if own is None:
        problems.append(f"{tensor.name} is neither a lora_A nor a lora_B of a linear weight")
    elif not same_values(tensor, survey.sound[own]):
        problems.append(f"{tensor.name} is not the model's own {own}: adapters that replace weights are not merged")


def _merged(weight: Stored, down: Stored, up: Stored, settings: _Settings, problems: list[str]) -> Merged:
    module = down.name.removeprefix("base_model.model.").partition(".lora_A.")[0]  # as the patterns name it
    rank = _chosen(settings.ranks, module, settings.rank)
    wanted = ([rank, weight.shape[1]], [weight.shape[0], rank])
    if (list(down.shape), list(up.shape)) != wanted:
        problems.append(
            f"{down.name} and {up.name} have shapes {list(down.shape)} and {list(up.shape)}, not {wanted[0]} and "
            f"{wanted[1]}"
        )
    alpha = _chosen(settings.alphas, module, settings.alpha)
    scale = alpha / (math.sqrt(rank) if settings.root else rank)
    return Merged(weight.name, weight.file, weight.dtype, weight.shape, weight, down, up, scale)
