"""Measured effects: each head ablated alone, and a sample of the neurons."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from landed_jax.interventions import chosen_neurons, every_head, sweep
from landed_jax.interventions._mean import ClassMeans
from landed_jax.interventions._sweep import Progress
from landed_jax.model import Model
from landed_jax.nn.hook_points import HookPoint
from landed_jax.tasks import Pairs
from landed_jax.tokens import check_aligned


def head_effects(
    model: Model,
    pairs: Pairs,
    ablation: str = "zero",
    *,
    means: Mapping[HookPoint, ClassMeans] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    dtype: Any = None,
) -> Float[np.ndarray, "layer batch head"]:
    """The value of the pairs' question less that with one head ablated at every position, of each head.

    Args:
        means: of the task's prompts, for ``ablation="mean"``.
        out: a folder that keeps what is finished, as of `sweep`.

    >>> import landed_jax as landed
    >>> from landed_jax.tasks import answered, pairs_of
    >>> from landed_jax.testbed.prompts import tasks
    >>> model = landed.load()
    >>> [pairs] = pairs_of(answered(model, tasks()["facts"], 4))
    >>> effects = head_effects(model, pairs).mean(axis=1)
    >>> effects.shape, int(effects.argmax()) // 8
    ((4, 8), 2)
    """
    stack = every_head(model.config, *_instead(model, pairs, HookPoint.HEAD, ablation, means, dtype))
    question = pairs.question(model.params, model.config, dtype)
    found = sweep(model, pairs.clean, stack, question, at=-1, out=out, progress=progress, dtype=dtype)
    return np.asarray(found.effect)[..., 0].swapaxes(1, 2)


def neuron_effects(
    model: Model,
    pairs: Pairs,
    neurons: Int[np.ndarray, "sample 2"],
    ablation: str = "zero",
    *,
    means: Mapping[HookPoint, ClassMeans] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    dtype: Any = None,
) -> Float[np.ndarray, "sample batch"]:
    """The same of some neurons, given as ``(layer, index)``."""
    instead = _instead(model, pairs, HookPoint.NEURON, ablation, means, dtype)
    stack = chosen_neurons([tuple(place) for place in neurons.tolist()], *instead)
    question = pairs.question(model.params, model.config, dtype)
    found = sweep(model, pairs.clean, stack, question, at=-1, out=out, progress=progress, dtype=dtype)
    return np.asarray(found.effect)[..., 0]


def _instead(
    model: Model,
    pairs: Pairs,
    site: HookPoint,
    ablation: str,
    means: Mapping[HookPoint, ClassMeans] | None,
    dtype: Any,
) -> tuple[Any, ...]:
    """What a stack does, and with which value."""
    if ablation == "zero":
        return ()
    if ablation == "resample":
        check_aligned(pairs.clean, pairs.corrupted)
        return "replace", model.trace(pairs.corrupted, record={site}, dtype=dtype)[site]
    assert means is not None
    return "replace", means[site].at(model.trace(pairs.clean, record=(), dtype=dtype)).value


def sampled(
    scores: Sequence[Float[np.ndarray, "layer neuron"]], count: int, *, seed: int = 0
) -> Int[np.ndarray, "sample 2"]:
    """Neurons to ablate: half of them the largest by |score| of each method in turn, the others at random.

    >>> sampled([np.diag([5.0, 4.0, 3.0])], 4)[:2].tolist()
    [[0, 0], [1, 1]]
    """
    total = scores[0].size
    count = min(count, total)
    orders = [np.argsort(-np.abs(one), axis=None, kind="stable") for one in scores]
    found: dict[int, None] = {}
    for place in (int(place) for rank in zip(*orders, strict=True) for place in rank):
        if len(found) >= (count + 1) // 2:
            break
        found.setdefault(place)
    for place in np.random.default_rng(seed).permutation(total).tolist():
        if len(found) == count:
            break
        found.setdefault(place)
    return np.stack(np.unravel_index(np.array(list(found), int), scores[0].shape), axis=1)
