"""Interventions in the field's words: each checks what it is given, and knows no model yet."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.errors import LandedError, shown
from landed_jax.nn.hook_points import AXES, OUTSIDE_LAYERS, SCALES, HookPoint, as_site, present
from landed_jax.nn.intervention import VERBS, Intervention, Verb
from landed_jax.numerics import is_concrete
from landed_jax.trace import Trace

Places = int | Sequence[int] | jax.Array | np.ndarray
"""Places on an axis: one, or a list; negative ones count from the end."""

# What a keyword may be called on an axis: a value of attention's keys has key heads, and columns that are sources.
_AXES = {
    "layers": ("layer",),
    "positions": ("position", "source"),
    "sources": ("source",),
    "heads": ("head", "kv_head"),
    "neurons": ("neuron",),
    "experts": ("expert",),
    "coordinates": ("d_model", "head_dim"),
}
# Whose values are of the experts that each position chose.
_OF_EXPERTS = frozenset(map(HookPoint, ("gate", "up", "neuron", "expert_weight")))
_NO_VALUE: tuple[Verb, ...] = ("zero",)


def intervene(
    site: HookPoint | str,
    do: Verb = "zero",
    value: Any = None,
    *,
    layers: Places | None = None,
    positions: Any = None,
    sources: Places | None = None,
    heads: Places | None = None,
    neurons: Places | None = None,
    experts: Places | None = None,
    coordinates: Places | None = None,
) -> Intervention:
    """An intervention at a hook point: what happens to which of its numbers.

    It goes into ``interventions=`` of `forward` and ``model.trace``, alone or in a list, and into `sweep`. Everything
    but `site` and `do` is arrays: another layer, head, position or value is the same compiled program, under ``vmap``
    too, and a gradient with respect to `value` is that of the steering vector.

    On a whole write under an output norm (Gemma 2 and 3, OLMo 2) there are two places and two meanings. ``attn_out``
    and ``mlp_out`` hold what the block puts out, *before* the norm: the norm's σ′ follows a change there, so a scale
    does next to nothing. ``attn_write`` and ``mlp_write`` hold what is added to the stream, *after* it: a scale there
    scales the write. An intervention on a head or a neuron is before the norm; with `freeze_sigma` beside it, it is of
    the write alone.

    Args:
        site: the hook point, such as ``"head"`` (z, a head's factor), ``"neuron"``, ``"mlp_write"``,
            ``"attn_residual"``.
        do: ``zero``, ``scale``, ``add``, ``replace`` or ``project_out``.
        value: a factor; a vector or an array to add or to put there; the direction to project out. It broadcasts to the
            hook point's axes ``[batch, position, …]``, all columns of the tokens counted, or has a leading layer axis.
        layers, positions, sources, heads, neurons, experts, coordinates: the places meant, by default all of them.
            Positions ``[batch, n]`` are each prompt's own. On keys and values positions are those of the keys, and
            heads are key heads; sources are a pattern's. In a model with experts a neuron is counted within its expert,
            and `experts` means those numbers that are of them, wherever a position chose them.

    Raises:
        LandedError: for what is no hook point or verb, a keyword that the hook point has no axis for, places that are
            not whole numbers, and a value that is missing or surplus.

    >>> intervene("head", layers=3, heads=[1, 5])
    Intervention(zero head, layer [3], head [1, 5])
    """
    point = as_site(site)
    if do not in VERBS:
        raise LandedError(f"{shown(do)} is nothing that an intervention does; these are: {', '.join(VERBS)}.")
    if (value is None) != (do in _NO_VALUE):
        raise LandedError(f"An intervention that does {do} takes {'no' if do in _NO_VALUE else 'a'} value.")
    given = {
        "layers": layers,
        "positions": positions,
        "sources": sources,
        "heads": heads,
        "neurons": neurons,
        "experts": experts,
        "coordinates": coordinates,
    }
    where = {}
    for name, places in given.items():
        if places is not None:
            axis = _axis_of(point, name)
            where[axis] = _places(name, places, 2 if name == "positions" else 1)
    if value is not None and not (isinstance(value, jax.Array | np.ndarray) and not is_concrete(value)):
        value = _number(value)
    return Intervention(point, do, where, value)


def _axis_of(point: HookPoint, name: str) -> str:
    of_experts = ("expert",) if point in _OF_EXPERTS else ()
    axes = (*AXES[point], *of_experts, *(() if point in OUTSIDE_LAYERS else ("layer",)))
    for axis in _AXES[name]:
        if axis in axes:
            return axis
    raise LandedError(f"{point.value} has no {name}: its axes are {', '.join(AXES[point])}.")


def _places(name: str, places: Any, most_axes: int) -> Any:
    found = np.atleast_1d(np.asarray(places)) if is_concrete(places) else jnp.atleast_1d(places)
    if not found.size or found.ndim > most_axes or not np.issubdtype(found.dtype, np.integer):
        raise LandedError(f"{name}={shown(places)} is no place and no list of places (whole numbers).")
    return found


def _number(value: Any) -> Any:
    found = np.asarray(value) if not isinstance(value, jax.Array) else value
    if not (np.issubdtype(found.dtype, np.number) or found.dtype.kind == "V"):
        raise LandedError(f"The value of an intervention is a number or an array of them, not {shown(value)}.")
    return found


def zero_head(layer: Places, head: Places, *, positions: Any = None) -> Intervention:
    """Heads put out nothing: their factors z are 0.

    >>> zero_head(3, 5)
    Intervention(zero head, layer [3], head [5])
    """
    return intervene("head", layers=layer, heads=head, positions=positions)


def zero_neuron(layer: Places, neuron: Places, *, positions: Any = None) -> Intervention:
    """Neurons put out nothing: their activations are 0."""
    return intervene("neuron", layers=layer, neurons=neuron, positions=positions)


def patch(trace: Trace, site: HookPoint | str, **where: Any) -> Intervention:
    """Values as another trace recorded them: resample ablation, activation patching, or the identity.

    Args:
        trace: of prompts of the same shape, with `site` recorded. Positions that it did not record stay as they are.
        where: the places meant, as for `intervene`.

    Raises:
        LandedError: for a site that the trace did not record, and what `intervene` refuses.

    References:
        Vig et al., Causal Mediation Analysis for Interpreting Neural NLP, 2020; Meng et al., Locating and Editing
        Factual Associations in GPT, 2022 (activation patching).
    """
    point = as_site(site)
    value, length = trace[point], trace.tokens.ids.shape[-1]
    axes = ((), ("layer",))[point not in OUTSIDE_LAYERS] + AXES[point]
    if "position" in axes and trace.at.shape[0] != length:
        at = axes.index("position")
        shape = list(value.shape)
        shape[at] = length
        whole = jnp.zeros(shape, value.dtype)
        value = jnp.moveaxis(jnp.moveaxis(whole, at, 0).at[trace.at].set(jnp.moveaxis(value, at, 0)), 0, at)
        where.setdefault("positions", trace.at)
    return intervene(point, "replace", value, **where)


def freeze(trace: Trace, sites: Iterable[HookPoint | str]) -> tuple[Intervention, ...]:
    """Hook points held as a trace recorded them, in all layers and positions.

    Raises:
        LandedError: for a site that the trace did not record.
    """
    return tuple(patch(trace, site) for site in sorted(map(as_site, sites)))


def freeze_sigma(trace: Trace) -> tuple[Intervention, ...]:
    """Every norm's σ held as a trace recorded it, the output norms' σ′ too: the reads become linear.

    The trace needs all σ at every position (they are among `WRITES`).
    """
    sigmas = frozenset(site for site in SCALES if site.value.endswith("_sigma"))
    return freeze(trace, present(sigmas, trace.config))


def freeze_pattern(trace: Trace) -> tuple[Intervention, ...]:
    """Attention patterns held as a trace recorded them (`PATTERN`, at every position)."""
    return freeze(trace, [HookPoint.PATTERN])
