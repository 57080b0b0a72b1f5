"""Programs cut at their layers: on a CPU, one compiled program per kind of layer, called layer after layer.

XLA compiles each layer of an unrolled program separately, so compile time grows with depth. A scan over stacked layers
compiles one, but on a CPU copies every layer's weights out of the stack at each run. Here the layers stay apart and
share a program: `layer_call` marks what one layer computes, and a function under `by_layers` is traced as under
`jax.jit`, cut at the marks, and run piece by piece. Inside the user's own transforms, under ``LANDED_PLAIN=1``, and on
other platforms unless weights stay outside of their memory, `by_layers` is `jax.jit`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landed_jax.errors import LandedError
from landed_jax.nn.parameters import Params
from landed_jax.nn.pieces import LAYER, pieces_of
from landed_jax.nn.schedule import PLAIN, never_of, wait_for
from landed_jax.nn.weights_on_disk import abstract, any_on_disk, in_memory
from landed_jax.numerics import is_concrete, layer_of

P = ParamSpec("P")
R = TypeVar("R")


def layer_call(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, as a call that `by_layers` can compile once and make for each layer.

    Make it once and call it for all layers, with the layer's number as an array: calls that differ in the shapes of
    their arguments, or that were marked apart, are different kinds of layer.
    """

    def one_layer(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    one_layer.__name__ = LAYER
    return jax.jit(one_layer)


def by_layers(function: Callable[P, R], static: tuple[str, ...] = ()) -> Callable[P, R]:
    """`jax.jit` of a function, but cut at its layer calls where it is called with arrays on one CPU or weights on disk.

    A function that has effects, such as ``jax.debug.print``, or that holds numbers of an outer transform is not cut.

    Args:
        static: the names of the static arguments, which are given by keyword.

    >>> step = layer_call(lambda weight, x: weight * x)
    >>> product = by_layers(lambda weights, x: functools.reduce(lambda x, weight: step(weight, x), weights, x))
    >>> float(product([2.0, 3.0, 4.0], 1.0))
    24.0
    """
    jitted = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        dynamic = {name: value for name, value in kwargs.items() if name not in static}
        leaves, tree = jax.tree.flatten((args, dynamic))
        on_disk = any_on_disk(leaves)
        if PLAIN or not _on_one_device(leaves, only_cpu=not on_disk):
            return jitted(*args, **kwargs)
        traced = jitted.trace(*abstract(args), **{**kwargs, **abstract(dynamic)})
        program = traced.jaxpr
        # Static arguments given by position, numbers of an outer transform that the function holds, and effects, whose
        # order is the program's.
        whole = traced.in_tree != tree or len(program.jaxpr.invars) != len(leaves) or program.effects
        pieces = None if whole else pieces_of(program, on_disk)
        if pieces is not None:
            return jax.tree.unflatten(traced.out_tree, pieces(leaves))
        if on_disk:
            raise LandedError(
                "A function that has effects, or that holds numbers of an outer transform, needs all weights in "
                "memory: load the model without stream."
            )
        return jitted(*args, **kwargs)

    return run


def over_layers(function: Callable[..., Any], layers: Params, *stacks: Any, in_turn: bool = False) -> Any:
    """``function(layer parameters, layer's slice of each stack)`` for every layer, the results stacked.

    Holds for both ways of keeping parameters.

    Args:
        in_turn: compute one layer's results before the next layer's, so that one layer's intermediate values exist at a
            time. Each result is read once more for it. The plain form leaves the order to XLA.
    """
    if "attn" in layers:
        return jax.lax.map(lambda slices: function(*slices), (layers, *stacks))

    def step(part: Params, index: jax.Array, never: jax.Array, stacks: Any) -> tuple[Any, jax.Array]:
        slices = jax.tree.map(lambda leaf: layer_of(leaf, index), stacks)
        if not in_turn or PLAIN:
            return function(part, *slices), never
        found = function(part, *jax.tree.map(lambda leaf: wait_for(never, leaf), slices))
        return found, never if (flag := never_of(found)) is None else flag

    # Outside of a trace a new jit would compile at each call.
    marked = step if all(map(is_concrete, jax.tree.leaves((layers, stacks)))) else layer_call(step)
    results: list[Any] = []
    never: Any = np.zeros((), bool)
    for i in range(len(layers)):
        index: Any = np.int32(i)
        found, never = marked(in_memory(layers[str(i)]), index, never, stacks)
        results.append(found)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def through_layers(
    kinds: Sequence[Callable[..., tuple[Any, Any]]],
    kind_of: Sequence[int],
    layers: Mapping[str, Any],
    carry: Any,
    shared: Any,
    stacks: tuple[Any, ...] = (),
    *,
    back: bool = False,
) -> tuple[Any, Any]:
    """``carry, result = layer(layer parameters, carry, number, shared, *its slices)``, one layer after another.

    Holds for both ways of keeping parameters: of stacked ones the results are stacked, of others a list.

    Args:
        kinds: a function for each kind of layer; `kind_of` says which is whose.
        stacks: arrays with a leading layer axis.
        back: from the last layer to the first.
    """
    if "attn" in layers:

        def step(carry: Any, slices: tuple[Any, jax.Array, jax.Array, Any]) -> tuple[Any, Any]:
            part, index, kind, own = slices
            if len(kinds) == 1:
                return kinds[0](part, carry, index, shared, *own)
            return jax.lax.switch(kind, kinds, part, carry, index, shared, *own)

        numbers = jnp.arange(len(kind_of)), jnp.array(kind_of)
        return jax.lax.scan(step, carry, (layers, *numbers, stacks), reverse=back)
    # Outside of a trace a new jit would compile at each call.
    marked = (lambda kind: kind) if all(map(is_concrete, jax.tree.leaves(carry))) else layer_call
    programs = [marked(_with_own_slices(kind)) for kind in kinds]
    results: list[Any] = [None] * len(kind_of)
    for i in reversed(range(len(kind_of))) if back else range(len(kind_of)):
        index: Any = np.int32(i)
        carry, results[i] = programs[kind_of[i]](in_memory(layers[str(i)]), carry, index, shared, stacks)
    return carry, results


def _with_own_slices(layer: Callable[..., Any]) -> Callable[..., Any]:
    def function(part: Any, carry: Any, index: jax.Array, shared: Any, stacks: tuple[Any, ...]) -> Any:
        return layer(part, carry, index, shared, *jax.tree.map(lambda stack: layer_of(stack, index), stacks))

    return function


def _on_one_device(leaves: Sequence[Any], only_cpu: bool) -> bool:
    """Whether all leaves are known numbers, on one device; a CPU, where only that is asked for."""
    devices = set()
    for leaf in leaves:
        if isinstance(leaf, Tracer):
            return False
        if isinstance(leaf, jax.Array):
            devices |= leaf.sharding.device_set
    platforms = {device.platform for device in devices} or {jax.default_backend()}
    return len(devices) <= 1 and not (only_cpu and platforms != {"cpu"})
