"""What is patched: layers and positions, heads, or neurons; with the values of the other prompt's run."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from landed_jax.errors import LandedError, shown
from landed_jax.forward_pass import forward
from landed_jax.interventions._neuron_values import of_neuron
from landed_jax.interventions._stacks import PARTS, Stack, chosen_neurons, every_head, every_layer_and_position
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import AXES, OUTSIDE_LAYERS, HookPoint, as_site
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.parameters import Params
from landed_jax.numerics import compute_dtype
from landed_jax.patching._aligned import Aligned
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

Components = str | Sequence[Sequence[int]]
"""``"positions"``: each layer at each position; ``"heads"``; or neurons, each ``(layer, index)``, of an expert
``(layer, expert, index)``. Heads and neurons at all positions."""

_THERE_ARE = 'Patched are "positions", "heads", or a list of neurons, not {}.'


def points_of(
    components: Components, sites: HookPoint | str | Iterable[HookPoint | str] | None, config: ModelConfig
) -> list[HookPoint]:
    """The hook points whose values are patched.

    Raises:
        LandedError: for components that there are not, and hook points that two prompts do not share.
    """
    if not isinstance(components, str):
        _check_neurons(components, config)
    if isinstance(components, str) and components == "positions":
        points = _sites(sites)
        for point in points:
            if point in OUTSIDE_LAYERS or not {"position", "source"} & set(AXES[point]):
                raise LandedError(f"Patching by layer and position is of no {point.value}: it has no such axes.")
            if config.n_experts and {"slot", "neuron"} & set(AXES[point]):
                raise LandedError(
                    f"{point.value} holds the numbers of the experts that a run chose, which in the other prompt's run "
                    "may be others: patch mlp_write, or neurons (layer, expert, index)."
                )
        return points
    if sites is not None:
        raise LandedError('sites= goes with components="positions".')
    if components == "heads":
        return [HookPoint.HEAD]
    if isinstance(components, str):
        raise LandedError(_THERE_ARE.format(shown(components)))
    return [HookPoint.NEURON, *([HookPoint.EXPERT] if config.n_experts else [])]


def _sites(given: HookPoint | str | Iterable[HookPoint | str] | None) -> list[HookPoint]:
    """Those of a list, one alone, or those by default."""
    if given is None:
        return list(PARTS)
    if not isinstance(given, Iterable):
        raise LandedError(f"sites= takes hook points within layers, not {shown(given)}.")
    points = list(map(as_site, (given,) if isinstance(given, str) else given))
    if not points:
        raise LandedError("sites= names no hook point: leave it out for both writes and the stream.")
    return points


def _check_neurons(components: Any, config: ModelConfig) -> None:
    """Refuse what is no list of the model's own neurons."""
    if not isinstance(components, Sequence) or not components:
        raise LandedError(_THERE_ARE.format(shown(components)))
    names, sizes = ("layer", "index"), (config.n_layers, config.d_ff)
    if config.n_experts:
        names, sizes = ("layer", "expert", "index"), (config.n_layers, config.n_experts, config.d_ff)
    for place in components:
        in_a_row = isinstance(place, Sequence) or (isinstance(place, np.ndarray) and place.ndim == 1)
        if not in_a_row or len(place) != len(names) or not all(map(_is_whole, place)):
            form = ", ".join(names)
            raise LandedError(f"A neuron of this model is given as ({form}), in whole numbers, not as {shown(place)}.")
        for name, number, size in zip(names, place, sizes, strict=True):
            if not 0 <= number < size:
                raise LandedError(f"There is no neuron {shown(place)}: {name} runs from 0 to {size - 1} here.")


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def recorded(params: Params, tokens: Tokens, config: ModelConfig, points: Sequence[HookPoint], dtype: Any) -> Trace:
    """A run's values at some hook points, at all positions, and no logits."""
    return _recorded(params, tokens, config=config, record=frozenset(points), dtype=compute_dtype(dtype))


@functools.partial(by_layers, static=("config", "record", "dtype"))
def _recorded(
    params: Params, tokens: Tokens, *, config: ModelConfig, record: frozenset[HookPoint], dtype: Any
) -> Trace:
    return forward(params, tokens, config, record=record, dtype=dtype)[1]


def columns_of(pair: Aligned, asked: Sequence[int]) -> tuple[list[int], list[int]]:
    """The columns that hold tokens; and those of them in which a patch can change what is measured.

    Before the first token that differs both runs hold the same values; what stands after the last asked column is not
    read.
    """
    there = np.flatnonzero(np.asarray(pair.clean.mask).any(axis=0)).tolist()
    first = int(np.flatnonzero(pair.differ.any(axis=0))[0])
    return there, [column for column in there if first <= column <= max(asked)]


def stack_of_patches(
    config: ModelConfig, components: Components, points: Sequence[HookPoint], other: Trace, columns: Sequence[int]
) -> Stack:
    """Every patch as a run: one component's value replaced by that of the other prompt's run."""
    if components == "positions":
        return every_layer_and_position(config, columns, points, "replace", {point: other[point] for point in points})
    if components == "heads":
        return every_head(config, "replace", other[HookPoint.HEAD])
    values = [of_neuron(other, other[HookPoint.NEURON][place[0]], place) for place in neurons(components)]
    each = [
        chosen_neurons([place], "replace", value[..., None])
        for place, value in zip(neurons(components), values, strict=True)
    ]
    return Stack(tuple(one.members[0] for one in each), {"neuron": names_of(components)})


def neurons(components: Components) -> list[Sequence[int]]:
    """The neurons, where they are what is patched."""
    return [place for place in components if not isinstance(place, str)]


def names_of(components: Components) -> tuple[str, ...]:
    """Of each neuron, as `chosen_neurons` names it."""
    return tuple(".".join(map(str, place)) for place in neurons(components))
