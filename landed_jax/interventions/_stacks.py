"""Many interventions with labelled axes: what a sweep runs."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landed_jax.errors import LandedError, shown
from landed_jax.interventions._intervene import intervene
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint, as_site
from landed_jax.nn.intervention import Intervention, Verb, flat

PARTS = (HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE, HookPoint.ATTN_RESIDUAL)


@dataclass(frozen=True, repr=False, eq=False)
class Stack:
    """Interventions along named axes.

    Attributes:
        members: each what is done together in one run, in the order of the axes, the last one fastest.
        axes: the labels along each axis, by its name.
    """

    members: tuple[tuple[Intervention, ...], ...]
    axes: Mapping[str, tuple[Any, ...]]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.axes.values()))

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"Stack({' × '.join(f'{len(labels)} {name}' for name, labels in self.axes.items())})"


def stack_of(interventions: Any) -> Stack:
    """A stack, from itself or from a list of which each element is one run: an intervention, or several together.

    Raises:
        LandedError: for a list of nothing, and what is none.

    >>> stack_of([intervene("head", heads=0), [intervene("head", heads=0), intervene("neuron", neurons=3)]])
    Stack(2 intervention)
    """
    if isinstance(interventions, Stack):
        return interventions
    if not isinstance(interventions, list | tuple) or not interventions:
        raise LandedError(f"A sweep takes a Stack or a list of interventions, not {shown(interventions)}.")
    members = tuple(map(flat, interventions))
    return Stack(members, {"intervention": tuple(", ".join(map(repr, member)) for member in members)})


def every_head(config: ModelConfig, do: Verb = "zero", value: Any = None, **where: Any) -> Stack:
    """Each head of each layer alone.

    Args:
        do, value: what is done to its factor z, as for `intervene`. A value with axes of layers and heads, such as a
            `patch` or a mean, gives each head its own.
        where: positions, as for `intervene`.

    >>> sizes = dict(vocab_size=2, d_model=4, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=2, d_ff=3)
    >>> every_head(ModelConfig(**sizes))
    Stack(2 layer × 2 head)
    """
    axes = {"layer": tuple(range(config.n_layers)), "head": tuple(range(config.n_heads))}
    members = tuple(
        (intervene("head", do, value, layers=layer, heads=head, **where),)
        for layer, head in itertools.product(*axes.values())
    )
    return Stack(members, axes)


def every_layer_and_position(
    config: ModelConfig,
    positions: int | Sequence[int],
    sites: Sequence[HookPoint | str] = PARTS,
    do: Verb = "zero",
    value: Any = None,
) -> Stack:
    """Each layer at each position, at each of some hook points: by default both writes and the stream.

    Args:
        positions: how many columns the prompts have, or which of them are meant.
        do, value: as for `intervene`; a mapping from sites gives each its own value.

    >>> sizes = dict(vocab_size=2, d_model=4, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=2, d_ff=3)
    >>> every_layer_and_position(ModelConfig(**sizes), 3)
    Stack(3 hook_point × 2 layer × 3 column)
    """
    columns = tuple(range(positions)) if isinstance(positions, int) else tuple(map(int, positions))
    points = tuple(map(as_site, sites))
    if not columns or not points:
        raise LandedError("A sweep over positions needs at least one position and one hook point.")
    values = {point: value[point] if isinstance(value, Mapping) else value for point in points}
    axes = {
        "hook_point": tuple(point.value for point in points),
        "layer": tuple(range(config.n_layers)),
        "column": columns,
    }
    layers = range(config.n_layers)
    members = tuple(
        (intervene(point, do, values[point], layers=layer, positions=column),)
        for point in points
        for layer in layers
        for column in columns
    )
    return Stack(members, axes)


def chosen_neurons(neurons: Sequence[Sequence[int]], do: Verb = "zero", value: Any = None, **where: Any) -> Stack:
    """Each of some neurons alone, given as ``(layer, index)``, or of an expert as ``(layer, expert, index)``.

    >>> chosen_neurons([(0, 3), (1, 7)]).axes["neuron"]
    ('0.3', '1.7')
    """
    if not neurons:
        raise LandedError("A sweep over neurons needs at least one.")
    members = tuple(
        (intervene("neuron", do, value, layers=place[0], neurons=place[-1], **_expert(place), **where),)
        for place in neurons
    )
    return Stack(members, {"neuron": tuple(".".join(map(str, place)) for place in neurons)})


def _expert(place: Sequence[int]) -> dict[str, int]:
    return {"experts": place[1]} if len(place) == 3 else {}


def every_part(config: ModelConfig, do: Verb = "zero", value: Any = None, **where: Any) -> Stack:
    """Each layer's attention and each layer's MLP alone: its whole write."""
    points = PARTS[:2]
    values = {point: value[point] if isinstance(value, Mapping) else value for point in points}
    axes = {"hook_point": tuple(point.value for point in points), "layer": tuple(range(config.n_layers))}
    members = tuple(
        (intervene(point, do, values[point], layers=layer, **where),)
        for point in points
        for layer in range(config.n_layers)
    )
    return Stack(members, axes)


def check_shape(stack: Stack) -> None:
    """Refuse a stack whose axes do not count its members.

    Raises:
        LandedError: with both numbers.
    """
    if math.prod(stack.shape) != len(stack):
        raise LandedError(f"This stack has {len(stack)} interventions and axes of {list(stack.shape)}.")
