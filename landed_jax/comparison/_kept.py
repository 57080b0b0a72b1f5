"""The value under many circuits: of each, some components are kept and all others ablated, in every position.

A circuit is data, so that all of them share a program. They are computed layer by layer, in an order in which those
that keep the same components of the first layers follow each other: of these layers one pass is enough.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from landed_jax.comparison._baselines import Baselines
from landed_jax.comparison._levels import Level
from landed_jax.errors import LandedError
from landed_jax.interventions._measures import Measure
from landed_jax.interventions._runs import Runs
from landed_jax.interventions._stages import Span, after_layer, layer_params, measured, top_params
from landed_jax.model import Model
from landed_jax.nn.intervention import Intervention
from landed_jax.numerics import compute_dtype, layer_of
from landed_jax.tasks import Pairs
from landed_jax.tokens import columns


def kept_values(
    model: Model,
    pairs: Pairs,
    level: Level,
    masks: Bool[np.ndarray, "circuit layer component"],
    baseline: Baselines,
    *,
    measure: Measure = None,
    dtype: Any = None,
) -> Float[np.ndarray, "circuit batch"]:
    """What is measured at the last column of each clean prompt, with a circuit's components alone.

    Args:
        masks: what each circuit keeps.
        baseline: what the others become; see `landed_jax.comparison._baselines`.
        measure: as of `sweep`; by default the value of the pairs' question.

    Raises:
        LandedError: for masks of another shape.

    >>> import landed_jax as landed
    >>> from landed_jax.tasks import answered, pairs_of
    >>> from landed_jax.testbed.prompts import tasks
    >>> from landed_jax.comparison import LEVELS
    >>> model = landed.load()
    >>> [pairs] = pairs_of(answered(model, tasks()["facts"], 4))
    >>> masks = np.stack([np.ones((4, 8), bool), np.zeros((4, 8), bool)])
    >>> whole, nothing = kept_values(model, pairs, LEVELS["heads"], masks, {landed.HookPoint.HEAD: None})
    >>> bool(whole.min() > 5 > nothing.max())
    True
    """
    found = np.zeros((len(masks), len(pairs)), compute_dtype(dtype))
    for place, value in in_order(model, pairs, level, masks, baseline, measure=measure, dtype=dtype):
        found[place] = value
    return found


def in_order(
    model: Model,
    pairs: Pairs,
    level: Level,
    masks: Bool[np.ndarray, "circuit layer component"],
    baseline: Baselines,
    *,
    measure: Measure = None,
    dtype: Any = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """The circuits' values as they are found, each with its place among the masks."""
    config = model.config
    wanted = (config.n_layers, level.row(config))
    if masks.shape[1:] != wanted or masks.dtype != bool:
        raise LandedError(f"A circuit of {level.name} is a mask of {list(wanted)}, not {list(masks.shape[1:])}.")
    tokens, dtype = pairs.clean, compute_dtype(dtype)
    at = columns(-1, tokens.ids.shape[1])
    asked = pairs.question(model.params, config, dtype) if measure is None else measure
    runs = Runs.of(model, tokens, (), at, asked, dtype, watch=False)
    # Streams before each layer: at first the clean run's, which is the circuit of everything.
    streams = [layer_of(runs.stream, jnp.asarray(layer))[None] for layer in range(config.n_layers)] + [runs.final[None]]
    before = np.ones(wanted, bool)
    for place in order_of(masks):
        changed = np.flatnonzero((masks[place] != before).any(axis=1))
        before = masks[place]
        for layer in range(changed[0] if len(changed) else config.n_layers, config.n_layers):
            row = _edits(level, before[layer], baseline, layer, config)
            streams[layer + 1] = _after(runs, streams[layer], layer, row)
        how: dict[str, Any] = {"config": config, "tree": jax.tree.structure(()), "axes": (), "runs": 1}
        value = measured(top_params(model.params), streams[-1], at, runs.shared, (), runs.measure, **how)
        yield int(place), np.asarray(value)[0, :, 0]


def order_of(masks: Bool[np.ndarray, "circuit layer component"]) -> np.ndarray:
    """The circuits' places, sorted by what is missing from the first layer, then from the next, and so on."""
    rows = [np.packbits(~mask, axis=1).tobytes() for mask in masks]
    return np.array(sorted(range(len(rows)), key=rows.__getitem__), int)


def passes(masks: Bool[np.ndarray, "circuit layer component"]) -> float:
    """How many forward passes the circuits take: each counts from the first layer in which it is new.

    >>> one, other = np.ones((2, 4, 3), bool)
    >>> other[3] = False
    >>> passes(np.stack([one, other]))
    0.25
    """
    layers, before = 0, np.ones(masks.shape[1:], bool)
    for place in order_of(masks):
        changed = np.flatnonzero((masks[place] != before).any(axis=1))
        layers += masks.shape[1] - changed[0] if len(changed) else 0
        before = masks[place]
    return float(layers / masks.shape[1])


def _edits(level: Level, row: Any, baseline: Baselines, layer: int, config: Any) -> tuple[Intervention, ...]:
    """One layer's interventions: times the mask, plus what the ablated become."""
    edits = []
    for part, kept in zip(level.parts, level.split(row, config), strict=True):
        factor = part.spread(kept)
        edits.append(Intervention(part.site, "scale", {}, factor))
        value = baseline[part.site]
        if value is not None:
            edits.append(Intervention(part.site, "add", {}, _ablated(value, np.int32(layer), factor)))
    return tuple(edits)


@jax.jit
def _ablated(value: jax.Array, layer: jax.Array, kept: jax.Array) -> jax.Array:
    return jnp.where(kept, 0, layer_of(value, layer))


def _after(runs: Runs, x: jax.Array, layer: int, edits: Sequence[Intervention]) -> jax.Array:
    """The stream behind a layer."""
    leaves, tree = jax.tree.flatten(tuple(edits))
    config = runs.model.config
    return after_layer(
        layer_params(runs.model.params, layer),
        x,
        np.int32(layer),
        runs.shared,
        tuple(leaves),
        runs.at,
        config=config,
        kind=runs.kinds[layer],
        span=Span(0, runs.stream.shape[2]),
        tree=tree,
        axes=(None,) * len(leaves),
        runs=1,
        together=False,
        last=layer == config.n_layers - 1,
    )[0]
