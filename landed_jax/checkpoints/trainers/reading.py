"""Parameters from a pytree of a training program: one kind of tree is recognised by its names, and checked in full."""

import dataclasses
from typing import Any

import jax
import numpy as np

from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.names import some
from landed_jax.checkpoints.trainers import flax_nnx, maxtext, tunix
from landed_jax.checkpoints.trainers.leaves import leaves_by_name
from landed_jax.checkpoints.trainers.source import Source, own_table
from landed_jax.errors import LandedError, Refusal
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LAYER_LEAVES, TOP_LEAVES, Params, build_tree

OWN = (
    Source("landed_jax (stacked layers)", own_table(stacked=True)),
    Source("landed_jax (one subtree a layer)", own_table(stacked=False)),
)
SOURCES = (*OWN, *maxtext.SOURCES, *tunix.SOURCES, *flax_nnx.SOURCES)


def params_from(config: ModelConfig, tree: Any) -> tuple[Params, Source]:
    """A tree's parameters as this package holds them, and the kind of tree that it is.

    A pure function of the arrays: it works under ``jit``. Scanned layers become stacked ones. Values are not looked at.

    Args:
        config: the model's architecture.
        tree: arrays in one of the kinds of trees in `SOURCES`; see `leaves_by_name` for their containers.

    Raises:
        LandedError: if the names are of no kind of tree, or of several alike.
        Refusal: with every leaf that is missing, left over, misshapen or no float, and everything that the tree does
            not tell.
    """
    problems: list[str] = []
    found = leaves_by_name(tree, problems)
    source = _recognised(found, config, problems)
    entries = [(name, path, entry) for entry in source.entries(config) for name, path in entry.paths(config)]
    shapes = {name: entry.shape(config) for name, _, entry in entries}
    problems += [*source.problems(config), *_without_a_place(source, config), *_misfits(found, shapes)]
    problems += _left_over([name for name in found if name not in shapes], found, source, config)
    if problems:
        raise Refusal(
            f"These parameters are not those of a model of this config in a tree of {source.name}",
            problems,
            "its `problems` are all",
        )
    return build_tree((path, entry.ours(found[name], config)) for name, path, entry in entries), source


def _recognised(found: dict[str, Any], config: ModelConfig, problems: list[str]) -> Source:
    """The one kind of tree that most of the names are of."""
    if not found:
        raise Refusal("These are no parameters", problems or ["there is no array in the tree"])
    fitting = {source: sum(name in found for name in source.names(config)) for source in SOURCES}
    most = max(fitting.values())
    best = [source for source, count in fitting.items() if count == most]
    if most == 0:
        raise LandedError(
            f"These parameters are of no tree that is known: it has {some(list(found))}. Known are those of "
            f"{', '.join(source.name for source in SOURCES)}."
        )
    if len(best) > 1:
        raise LandedError(
            f"Which tree these parameters are of cannot be told: as many of its names ({most} of {len(found)}) are "
            f"those of {' and of '.join(source.name for source in best)}."
        )
    return best[0]


def _without_a_place(source: Source, config: ModelConfig) -> list[str]:
    """Leaves that the config has and that no tree of this kind has."""
    held = {entry.leaf for entry in source.entries(config)}
    leaves = [leaf.path for leaf in (*TOP_LEAVES, *LAYER_LEAVES) if leaf.present(config) and leaf.path not in held]
    return [f"this config has {leaf}, which no tree of {source.name} has" for leaf in leaves]


def _misfits(found: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    wrong = []
    for name, shape in shapes.items():
        if (leaf := found.get(name)) is None:
            wrong.append(f"{name} {list(shape)} is missing")
            continue
        if leaf.shape != shape:
            wrong.append(f"{name} has shape {list(leaf.shape)}, not {list(shape)}")
        if leaf.dtype not in FLOATS.values():
            wrong.append(f"{name} is of type {leaf.dtype}, not one of {', '.join(map(str, FLOATS.values()))}")
        elif leaf.dtype == np.float64 and not jax.config.read("jax_enable_x64"):
            wrong.append(f"{name} is float64, which needs JAX's 64-bit types: set JAX_ENABLE_X64=1")
    return wrong


def _left_over(names: list[str], found: dict[str, Any], source: Source, config: ModelConfig) -> list[str]:
    untied = source.names(dataclasses.replace(config, tie_embeddings=False))
    why = "this model has no such leaf"
    of_untied = "an unembedding of its own, and the config has tie_embeddings=True"
    return [f"{n} {list(found[n].shape)} is left over: {of_untied if n in untied else why}" for n in names]
