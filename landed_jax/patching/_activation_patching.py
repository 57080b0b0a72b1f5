"""Activation patching: every component in turn as in the other prompt's run, and the model run again."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.reads._targets import Target
from landed_jax.errors import LandedError, shown
from landed_jax.interventions._measures import Measure
from landed_jax.interventions._sweep import Progress, sweep
from landed_jax.model import Model, Prompts
from landed_jax.nn.hook_points import HookPoint
from landed_jax.patching._aligned import Aligned, aligned
from landed_jax.patching._asked import Asked, asked_of
from landed_jax.patching._components import Components, columns_of, points_of, recorded, stack_of_patches
from landed_jax.patching._patching import Direction, Patching
from landed_jax.prompts import warn_of
from landed_jax.provenance import Provenance
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import Tokens


def activation_patching(
    model: Model,
    clean: Prompts | Pairs,
    corrupted: Prompts | None = None,
    measure: Measure = None,
    against: Target | None = None,
    *,
    sites: HookPoint | str | Iterable[HookPoint | str] | None = None,
    components: Components = "positions",
    direction: Direction = "denoise",
    at: int | Sequence[int] = -1,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    dtype: Any = None,
) -> Patching:
    """What each component's value in one prompt's run does in the run of another.

    Denoising runs the corrupted prompt and puts in clean values, one component at a time: what is *sufficient* to bring
    the measure back. Noising runs the clean prompt and puts in corrupted values: what is *necessary* for it. The two
    need not agree (an OR of two parts shows in denoising, an AND in noising).

    A patch by layer and position replaces what attention or the MLP *adds to the stream*: behind an output norm, where
    the model has one. A head's or a neuron's patch is before that norm: its σ′ is then that of the patched block.

    Args:
        clean, corrupted: two prompts, or two lists of prompts, of as many tokens each; or `Pairs` alone.
        measure: as for `sweep`, and the same in every run: tokens that are left open are the clean prompt's most likely
            next ones, and a `Divergence` is from the clean prompt's distribution in both directions. By default the
            logit difference of the clean prompt's most likely next token and the corrupted prompt's (the logit alone
            where some pair has the same one); of `Pairs` their own question.
        against: a second token, where the first is a bare one.
        sites: for positions: hook points within layers, or one; by default what attention and the MLP add to the
            stream, and the stream before each layer.
        components: ``"positions"``: each layer at each position; ``"heads"``: each head at all positions; or neurons,
            at all positions, each ``(layer, index)``, of an expert ``(layer, expert, index)``.
        direction: ``"denoise"`` or ``"noise"``.
        at: the columns that are measured.
        out: a folder that keeps finished chunks: the same call after an interruption goes on from there.
        progress: called with the number of finished runs and of all.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for prompts that do not align or are the same, and what `sweep` refuses.

    References:
        Vig et al., Causal Mediation Analysis for Interpreting Neural NLP, 2020; Meng et al., Locating and Editing
        Factual Associations in GPT, 2022; Wang et al., Interpretability in the Wild, 2022 (heads); Heimersheim & Nanda,
        How to Use and Interpret Activation Patching, 2024 (denoising and noising).

    >>> from landed_jax import load
    >>> clean, corrupted = "The Colosseum is in the city of", "The Louvre is in the city of"
    >>> found = activation_patching(load(), clean, corrupted, components="heads")
    >>> best = found.to_xarray(derived=True).recovered.squeeze().argmax(...)
    >>> int(best["layer"]), int(best["head"]), round(float(found.recovered.max()), 2)
    (2, 7, 0.31)
    """
    check_direction(direction)
    points = points_of(components, sites, model.config)
    pair = aligned(model, clean, corrupted)
    warn_of(pair.warnings)
    asked = asked_of(model, clean, pair, measure, against, at, dtype)
    own, other = (pair.corrupted, pair.clean)[:: 1 if direction == "denoise" else -1]
    there, run = columns_of(pair, asked.columns)
    values = recorded(model.params, other, model.config, points, dtype)
    stack = stack_of_patches(model.config, components, points, values, run)
    how: dict[str, Any] = {"at": asked.columns, "out": out, "progress": progress, "dtype": dtype}
    found = sweep(model, own, stack, asked.measure, **how)
    effect, labels = -found.effect, found.labels
    if components == "positions":
        effect, labels = in_all_columns(effect, labels, there, run)
    return patching(model, pair, asked, effect, labels, direction, "activation patching")


def check_direction(direction: Direction) -> None:
    """Refuse what is no direction.

    Raises:
        LandedError: with the two that there are.
    """
    if direction not in ("denoise", "noise"):
        raise LandedError(f'A direction is "denoise" or "noise", not {shown(direction)}.')


def in_all_columns(effect: jax.Array, labels: Any, there: Sequence[int], run: Sequence[int]) -> tuple[jax.Array, Any]:
    """The effects with a place for every column: 0 where no patch can do anything, and none was run."""
    whole = jnp.zeros((*effect.shape[:2], len(there), *effect.shape[3:]), effect.dtype)
    places = np.searchsorted(there, run)
    return whole.at[:, :, places].set(effect), (*labels[:2], ("column", tuple(there)))


def patching(
    model: Model, pair: Aligned, asked: Asked, effect: jax.Array, labels: Any, direction: Direction, method: str
) -> Patching:
    """The result, with both prompts' tokens and numbers."""
    clean, corrupted = (Tokens(jnp.asarray(side.ids), jnp.asarray(side.mask)) for side in pair[:2])
    known = Provenance(clean, jnp.asarray(asked.columns), model.config, model.vocabulary, model.source, model.notes)
    numbers = effect, asked.clean, asked.corrupted, corrupted.ids, asked.target, asked.against
    return Patching(*numbers, direction=direction, method=method, labels=labels, provenance=known)
