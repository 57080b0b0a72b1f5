"""What stands in the place of a node's write where an edge is cut, and prompts in parts that a memory holds."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from landed_jax.analysis.reads._questions import Vector
from landed_jax.circuits._layers import Sigmas
from landed_jax.circuits._runs import Runs, Whole
from landed_jax.errors import LandedError, shown
from landed_jax.interventions._measures import Measure
from landed_jax.model import Model
from landed_jax.numerics import is_concrete
from landed_jax.provenance import Provenance
from landed_jax.tokens import Tokens, check_aligned

Ablation = Literal["resample", "mean", "zero"]
"""What an edge outside of a circuit carries in place of its node's write: the write in the corrupted prompt; its mean
over prompts, first tokens and others apart; nothing."""

# Bytes of all nodes' writes of one run that exist at a time (edge attribution holds four such arrays).
WRITES_BYTES = 2**27


class Part(NamedTuple):
    """Some of the prompts, run once as they are.

    Attributes:
        count: how many prompts; the last may be repeated behind them, so that parts share their programs.
        other: every node's write where an edge is cut.
        held: σ of the clean run, where they are held.
        measure: as a function of the final norm's output.
    """

    count: int
    runs: Runs
    whole: Whole
    other: Float[Array, "sender batch position d_model"]
    held: tuple[Sigmas, ...]
    measure: Any


def parts_of(
    model: Model,
    clean: Tokens,
    corrupted: Tokens,
    measure: Measure,
    ablation: Ablation = "resample",
    *,
    data: Tokens | None = None,
    freeze_sigma: bool = False,
    dtype: Any = None,
) -> Iterator[Part]:
    """The prompts, as many at a time as `WRITES_BYTES` holds.

    Raises:
        LandedError: for an ablation that there is not, data that it does not take, prompts that are not aligned, and
            what `prepared` refuses.
    """
    if ablation not in get_args(Ablation):
        raise LandedError(f"{shown(ablation)} is no ablation; these are: {', '.join(get_args(Ablation))}.")
    if data is not None and ablation != "mean":
        raise LandedError(f"data= is for ablation='mean'; {ablation!r} takes none.")
    check_aligned(clean, corrupted)
    own = Runs.of(model, clean, dtype)
    resampled = Runs.of(model, corrupted, dtype) if ablation == "resample" else None
    means = _means(model, corrupted if data is None else data, dtype) if ablation == "mean" else None
    for places, count in batches(own):
        runs = own.of_prompts(places)
        whole = runs.whole()
        if resampled is not None:
            other = resampled.of_prompts(places).whole().writes
        elif means is not None:
            other = jnp.where((runs.tokens.positions == 0)[None, ..., None], *means)
        else:
            other = jnp.zeros_like(whole.writes)
        ready = runs.measure(model, whole, _of_prompts(measure, places, len(clean.ids)))
        yield Part(count, runs, whole, other, whole.sigmas if freeze_sigma else (), ready)


def _of_prompts(measure: Measure, places: np.ndarray, prompts: int) -> Measure:
    """A question's vectors of some prompts, where it has one for each."""
    if not isinstance(measure, Vector) or measure.vector.ndim < 3 or measure.vector.shape[0] != prompts:
        return measure
    return dataclasses.replace(measure, vector=measure.vector[places])


def batches(runs: Runs) -> Iterator[tuple[np.ndarray, int]]:
    """Places of prompts, as many at a time as `WRITES_BYTES` holds; and how many of them are not repetitions."""
    prompts, length = runs.tokens.ids.shape
    a_prompt = len(runs.graph.senders) * length * runs.config.d_model * runs.dtype.itemsize
    most = min(max(1, WRITES_BYTES // a_prompt), prompts)
    size = -(-prompts // -(-prompts // most))  # as many parts, but even ones
    for first in range(0, prompts, size):
        places = np.arange(first, first + size)
        yield np.minimum(places, prompts - 1), int(np.sum(places < prompts))


def _means(model: Model, data: Tokens, dtype: Any) -> list[jax.Array]:
    """Every node's mean write over first tokens, and over all others: ``[sender, 1, 1, d_model]`` each."""
    if is_concrete(data.mask) and int(np.sum(data.mask, axis=1).max()) < 2:
        raise LandedError("A mean over first tokens and others needs prompts of at least two tokens.")
    runs, sums, counts = Runs.of(model, data, dtype), [], []
    for places, count in batches(runs):
        part = runs.of_prompts(places)
        real = part.tokens.mask & (np.arange(len(places)) < count)[:, None]
        first = part.tokens.positions == 0
        members = jnp.stack([real & first, real & ~first]).astype(runs.dtype)
        sums.append(jnp.einsum("ubpd,kbp->kud", part.whole().writes, members))
        counts.append(jnp.sum(members, axis=(1, 2)))
    total, count = (functools.reduce(jnp.add, parts) for parts in (sums, counts))
    return list((total / count[:, None, None])[:, :, None, None])


def known_of(model: Model, tokens: Tokens) -> Provenance:
    """Where numbers of the prompts' last column come from."""
    asked = jnp.array([tokens.ids.shape[1] - 1])
    return Provenance(tokens, asked, model.config, model.vocabulary, model.source, model.notes)
