"""Programs cut at their layers: on a CPU, one compiled program per kind of layer, called layer after layer.

XLA compiles each layer of an unrolled program separately, so compile time grows with depth. A scan over stacked layers
compiles one, but on a CPU copies every layer's weights out of the stack at each run. Here the layers stay apart and
share a program: `layer_call` marks what one layer computes, and a function under `by_layers` is traced as under
`jax.jit`, cut at the marks, and run piece by piece. Inside the user's own transforms, on other platforms and under
``LANDED_PLAIN=1``, `by_layers` is `jax.jit`.
"""

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from landed_jax.nn.parameters import Params
from landed_jax.nn.schedule import PLAIN, never_of, wait_for
from landed_jax.numerics import is_concrete, layer_of

P = ParamSpec("P")
R = TypeVar("R")

_MARK = "one_layer"
_CALLS = ("jit", "pjit")


def layer_call(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, as a call that `by_layers` can compile once and make for each layer.

    Make it once and call it for all layers, with the layer's number as an array: calls that differ in the shapes of
    their arguments, or that were marked apart, are different kinds of layer.
    """

    def one_layer(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    one_layer.__name__ = _MARK  # by which a jaxpr shows the call
    return jax.jit(one_layer)


def by_layers(function: Callable[P, R], static: tuple[str, ...] = ()) -> Callable[P, R]:
    """`jax.jit` of a function, but cut at its layer calls where it is called with arrays on one CPU.

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
        if PLAIN or not _on_one_cpu(leaves):
            return jitted(*args, **kwargs)
        traced = jitted.trace(*args, **kwargs)
        program = traced.jaxpr
        # Static arguments given by position, numbers of an outer transform that the function holds, and effects, whose
        # order is the program's.
        if traced.in_tree != tree or len(program.jaxpr.invars) != len(leaves) or program.effects:
            return jitted(*args, **kwargs)
        pieces = _pieces_of(program)
        if pieces is None:
            return jitted(*args, **kwargs)
        return jax.tree.unflatten(traced.out_tree, pieces(leaves))

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
        found, never = marked(layers[str(i)], index, never, stacks)
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
        carry, results[i] = programs[kind_of[i]](layers[str(i)], carry, index, shared, stacks)
    return carry, results


def _with_own_slices(layer: Callable[..., Any]) -> Callable[..., Any]:
    def function(part: Any, carry: Any, index: jax.Array, shared: Any, stacks: tuple[Any, ...]) -> Any:
        return layer(part, carry, index, shared, *jax.tree.map(lambda stack: layer_of(stack, index), stacks))

    return function


def _on_one_cpu(leaves: Sequence[Any]) -> bool:
    """Whether all leaves are known numbers, on one device, a CPU."""
    devices = set()
    for leaf in leaves:
        if isinstance(leaf, Tracer):
            return False
        if isinstance(leaf, jax.Array):
            devices |= leaf.sharding.device_set
    return all(device.platform == "cpu" for device in devices) and (
        len(devices) == 1 or (not devices and jax.default_backend() == "cpu")
    )


_CUT: weakref.WeakKeyDictionary[ClosedJaxpr, Any] = weakref.WeakKeyDictionary()


def _pieces_of(program: ClosedJaxpr) -> "_Pieces | None":
    """The pieces of a traced program, made once for each; None where it calls no layer."""
    if program not in _CUT:
        _CUT[program] = _Pieces(_with_layers_outside(program)) if _calls_layers(program.jaxpr) else None
    return _CUT[program]


class _Step(NamedTuple):
    """One piece: a compiled function, from variables to variables; `frees` are not read again after it."""

    function: Callable[..., Sequence[Any]]
    reads: tuple[Any, ...]
    writes: tuple[Any, ...]
    frees: tuple[Any, ...]


class _Pieces:
    """A program as a list of steps, each a compiled program: layers, and what is between them."""

    def __init__(self, program: ClosedJaxpr) -> None:
        jaxpr = program.jaxpr
        self.constants = dict(zip(jaxpr.constvars, program.consts, strict=True))
        self.invars, self.outvars = jaxpr.invars, self._names(jaxpr.outvars)
        self.out_avals: Sequence[Any] = program.out_avals
        steps = [step._replace(reads=self._names(step.reads)) for step in _steps(jaxpr)]
        self.steps = _with_frees(steps, {*self.outvars, *self.constants})

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        known = {**self.constants, **dict(zip(self.invars, values, strict=True))}
        for step in self.steps:
            known.update(zip(step.writes, step.function(*[known[v] for v in step.reads]), strict=True))
            for variable in step.frees:
                known.pop(variable, None)
        return [_as_array(known[v], aval) for v, aval in zip(self.outvars, self.out_avals, strict=True)]

    def _names(self, variables: Sequence[Any]) -> tuple[Any, ...]:
        """The variables, literal numbers by names of their own, under which they are constants."""
        self.constants |= {id(v): _value(v, {}) for v in variables if isinstance(v, Literal)}
        return tuple(id(v) if isinstance(v, Literal) else v for v in variables)


def _as_array(value: Any, aval: Any) -> jax.Array:
    """A result as JAX's array: one that is an argument or a literal may be NumPy's, or a number."""
    return value if isinstance(value, jax.Array) else jax.device_put(np.asarray(value, aval.dtype))


def _steps(jaxpr: Jaxpr) -> list[_Step]:
    """Layer calls and branches with layers are steps of their own; each other equation waits until it is needed."""
    equations = _needed(jaxpr)
    programs: dict[Any, Callable[..., Any]] = {}  # by kind of layer
    steps, waiting = [], []
    read_outside = _Uses(equations, jaxpr.outvars)
    for equation in equations:
        if not _is_step(equation):
            waiting.append(equation)
            continue
        first, waiting = _split_needed(waiting, equation.invars)
        steps += _between(jaxpr, first, read_outside)
        used = tuple(read_outside.any(v) for v in equation.outvars)
        writes = tuple(v for v, wanted in zip(equation.outvars, used, strict=True) if wanted)
        if equation.primitive.name == "cond":
            function = _Branch(equation.params["branches"], used)
        else:
            kind = (id(equation.params["jaxpr"]), used)
            if kind not in programs:
                programs[kind] = _compiled(equation.params["jaxpr"], used)
            function = programs[kind]
        steps.append(_Step(function, tuple(equation.invars), writes, ()))
    return steps + _between(jaxpr, waiting, read_outside)


class _Branch:
    """A condition as Python's own: only the branch that is taken is compiled, and cut at its layers in turn."""

    def __init__(self, branches: Sequence[ClosedJaxpr], used: Sequence[bool]) -> None:
        self.branches, self.used = branches, used
        self.made: dict[int, _Pieces] = {}

    def __call__(self, index: Any, *values: Any) -> list[Any]:
        taken = int(index)
        if taken not in self.made:
            self.made[taken] = _Pieces(_with_layers_outside(self.branches[taken]))
        return [value for value, wanted in zip(self.made[taken](values), self.used, strict=True) if wanted]


class _Uses:
    """Which equations read a variable."""

    def __init__(self, equations: Sequence[Any], outvars: Sequence[Any]) -> None:
        self.readers: dict[Any, set[int]] = {}
        for reader, variables in [(id(e), e.invars) for e in equations] + [(0, outvars)]:
            for variable in variables:
                if not isinstance(variable, Literal):
                    self.readers.setdefault(variable, set()).add(reader)

    def any(self, variable: Any, but: frozenset[int] = frozenset()) -> bool:
        return bool(self.readers.get(variable, set()) - but)


def _between(jaxpr: Jaxpr, equations: Sequence[Any], uses: _Uses) -> list[_Step]:
    """The equations as one compiled program, if there are any."""
    if not equations:
        return []
    mine = frozenset(map(id, equations))
    part = _part(jaxpr, equations, lambda v: uses.any(v, but=mine))
    return [_Step(jax.jit(_named("between_layers", part)), tuple(part.jaxpr.invars), tuple(part.jaxpr.outvars), ())]


def _compiled(program: ClosedJaxpr, used: Sequence[bool]) -> Callable[..., Any]:
    """A layer's program, without the results that nothing reads."""
    jaxpr = program.jaxpr
    results = [v for v, wanted in zip(jaxpr.outvars, used, strict=True) if wanted]
    kept = jaxpr.replace(outvars=results)
    return jax.jit(_named(_MARK, ClosedJaxpr(kept, program.consts)))


def _part(jaxpr: Jaxpr, equations: Sequence[Any], read_after: Callable[[Any], bool]) -> ClosedJaxpr:
    """Some equations as a program of their own, from what they read to those results that are read after them."""
    own = {v for e in equations for v in e.outvars}
    given = (v for e in equations for v in e.invars if not isinstance(v, Literal) and v not in own)
    reads = list(dict.fromkeys(given))
    writes = [v for e in equations for v in e.outvars if read_after(v)]
    return ClosedJaxpr(jaxpr.replace(constvars=[], invars=reads, outvars=writes, eqns=list(equations)), ())


def _named(name: str, program: ClosedJaxpr) -> Callable[..., Any]:
    """The program as a function; its name is in profiles and in the cache of compiled programs."""
    run = jaxpr_as_fun(program)

    def function(*values: Any) -> Any:
        return run(*values)

    function.__name__ = name
    return function


def _with_frees(steps: Sequence[_Step], kept: set[Any]) -> list[_Step]:
    """The steps with the variables that each is the last to read, or that none reads, other than those to keep."""
    later, done = set(kept), []
    for step in reversed(steps):
        frees = {*step.reads, *step.writes} - later
        later |= frees
        done.append(step._replace(frees=tuple(frees)))
    return done[::-1]


def _needed(jaxpr: Jaxpr) -> list[Any]:
    """The equations that the results depend on."""
    return _split_needed(jaxpr.eqns, jaxpr.outvars)[0]


def _split_needed(equations: Sequence[Any], variables: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Those equations that the variables depend on, and the others, each in their order."""
    wanted = {v for v in variables if not isinstance(v, Literal)}
    needed, others = [], []
    for equation in reversed(equations):
        if wanted.isdisjoint(equation.outvars):
            others.append(equation)
        else:
            needed.append(equation)
            wanted.update(v for v in equation.invars if not isinstance(v, Literal))
    return needed[::-1], others[::-1]


def _is_layer(equation: Any) -> bool:
    return equation.primitive.name in _CALLS and equation.params["name"] == _MARK


def _is_step(equation: Any) -> bool:
    """Whether an equation is a layer call, or a condition with layer calls."""
    if equation.primitive.name == "cond":
        return any(_calls_layers(branch.jaxpr) for branch in equation.params["branches"])
    return _is_layer(equation)


def _is_call_of_layers(equation: Any) -> bool:
    """Whether an equation is a call of another function that calls layers."""
    call = equation.primitive.name in _CALLS and not _is_layer(equation)
    return call and _calls_layers(equation.params["jaxpr"].jaxpr)


def _calls_layers(jaxpr: Jaxpr) -> bool:
    return any(_is_step(equation) or _is_call_of_layers(equation) for equation in jaxpr.eqns)


def _with_layers_outside(program: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with the bodies of those calls that call layers in place of the calls."""
    if not any(map(_is_call_of_layers, program.jaxpr.eqns)):
        return program
    avals: Any = program.in_avals
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in avals]
    return jax.make_jaxpr(lambda *values: _opened(program, values))(*shapes)


def _opened(program: ClosedJaxpr, values: Sequence[Any]) -> list[Any]:
    """The program's results, its calls of layers evaluated by their bodies' equations."""
    jaxpr = program.jaxpr
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*program.consts, *values), strict=True))
    for equation in jaxpr.eqns:
        given = [_value(v, known) for v in equation.invars]
        if _is_call_of_layers(equation):
            found = _opened(equation.params["jaxpr"], given)
        else:
            part = _part(jaxpr, [equation], lambda v: True)
            found = jaxpr_as_fun(part)(*(_value(v, known) for v in part.jaxpr.invars))
        known.update(zip(equation.outvars, found, strict=True))
    return [_value(v, known) for v in jaxpr.outvars]


def _value(variable: Any, known: dict[Any, Any]) -> Any:
    if isinstance(variable, Literal):
        return np.asarray(variable.val, variable.aval.dtype)  # pyright: ignore[reportAttributeAccessIssue]
    return known[variable]
