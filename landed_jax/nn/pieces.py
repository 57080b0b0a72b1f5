"""A traced program cut at its layer calls, and run piece by piece.

Programs whose weights are on disk are cut where rows of a table are taken too, and run by `read_ahead`.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun
from jax.interpreters.partial_eval import dce_jaxpr

from landed_jax.nn.read_ahead import Step, in_order_of_weights, run_with_weights_on_disk
from landed_jax.nn.weights_on_disk import WeightOnDisk

LAYER = "one_layer"
"""By which a jaxpr shows a layer call."""
ROWS = "rows_of_table"
"""By which a jaxpr shows that rows of a table are taken."""

_CALLS = ("jit", "pjit")
_LAYERS, _LAYERS_AND_ROWS = frozenset({LAYER}), frozenset({LAYER, ROWS})
_CUT: tuple[weakref.WeakKeyDictionary[ClosedJaxpr, Any], ...] = (
    weakref.WeakKeyDictionary(),
    weakref.WeakKeyDictionary(),
)


def pieces_of(program: ClosedJaxpr, on_disk: bool) -> "Pieces | None":
    """The pieces of a traced program, made once for each; None where it calls no layer and needs no reading.

    Args:
        on_disk: some of its arguments will be `WeightOnDisk`.
    """
    cut, marks = _CUT[on_disk], _LAYERS_AND_ROWS if on_disk else _LAYERS
    if program not in cut:
        cut[program] = Pieces(program, marks) if on_disk or _has_steps(program.jaxpr, marks) else None
    return cut[program]


class Pieces:
    """A program as a list of steps, each a compiled program: the calls of these names, and what is between them."""

    def __init__(self, program: ClosedJaxpr, marks: frozenset[str]) -> None:
        program = _with_steps_outside(program, marks)
        jaxpr = program.jaxpr
        self.constants = dict(zip(jaxpr.constvars, program.consts, strict=True))
        self.invars, self.outvars = jaxpr.invars, self._names(jaxpr.outvars)
        self.out_avals: Sequence[Any] = program.out_avals
        self.kept = {*self.outvars, *self.constants}
        steps = [step._replace(reads=self._names(step.reads)) for step in _steps(jaxpr, marks)]
        self.steps = _with_frees(steps, self.kept)
        self.by_weights: dict[frozenset[Any], list[Step]] = {}

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        known = {**self.constants, **dict(zip(self.invars, values, strict=True))}
        if on_disk := frozenset(v for v in self.invars if isinstance(known[v], WeightOnDisk)):
            if on_disk not in self.by_weights:
                self.by_weights[on_disk] = _with_frees(in_order_of_weights(self.steps, on_disk), self.kept)
            run_with_weights_on_disk(self.by_weights[on_disk], known, on_disk)
        else:
            for step in self.steps:
                known.update(zip(step.writes, step.function(*[known[v] for v in step.reads]), strict=True))
                for variable in step.frees:
                    known.pop(variable, None)
        return [_as_array(known[v], aval) for v, aval in zip(self.outvars, self.out_avals, strict=True)]

    def _names(self, variables: Sequence[Any]) -> tuple[Any, ...]:
        """The variables, literal numbers by names of their own, under which they are constants."""
        self.constants |= {id(v): _value(v, {}) for v in variables if isinstance(v, Literal)}
        return tuple(id(v) if isinstance(v, Literal) else v for v in variables)


def _as_array(value: Any, aval: Any) -> Any:
    """A result as JAX's array: one that is an argument or a literal may be NumPy's, or a number."""
    return value if isinstance(value, jax.Array | WeightOnDisk) else jax.device_put(np.asarray(value, aval.dtype))


def _steps(jaxpr: Jaxpr, marks: frozenset[str]) -> list[Step]:
    """Marked calls and branches with such are steps of their own; each other equation waits until it is needed."""
    equations = _needed(jaxpr)
    programs: dict[Any, tuple[Callable[..., Any], list[bool]]] = {}  # by kind of layer
    steps, waiting = [], []
    read_outside = _Uses(equations, jaxpr.outvars)
    for equation in equations:
        if not _is_step(equation, marks):
            waiting.append(equation)
            continue
        first, waiting = _split_needed(waiting, equation.invars)
        steps += _between(jaxpr, first, read_outside)
        used = tuple(read_outside.any(v) for v in equation.outvars)
        writes = tuple(v for v, wanted in zip(equation.outvars, used, strict=True) if wanted)
        if equation.primitive.name == "cond":
            function = _Branch(equation.params["branches"], used, marks)
            steps.append(Step(function, tuple(equation.invars), writes, (), "branch"))
            continue
        name, kind = equation.params["name"], (id(equation.params["jaxpr"]), used)
        if kind not in programs:
            programs[kind] = _compiled(name, equation.params["jaxpr"], used)
        function, reads = programs[kind]
        read = tuple(v for v, wanted in zip(equation.invars, reads, strict=True) if wanted)
        steps.append(Step(function, read, writes, (), "rows" if name == ROWS else "program"))
    return steps + _between(jaxpr, waiting, read_outside)


class _Branch:
    """A condition as Python's own: only the branch that is taken is compiled, and cut at its layers in turn."""

    def __init__(self, branches: Sequence[ClosedJaxpr], used: Sequence[bool], marks: frozenset[str]) -> None:
        self.branches, self.used, self.marks = branches, used, marks
        self.made: dict[int, Pieces] = {}

    def __call__(self, index: Any, *values: Any) -> list[Any]:
        taken = int(index)
        if taken not in self.made:
            self.made[taken] = Pieces(self.branches[taken], self.marks)
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


def _between(jaxpr: Jaxpr, equations: Sequence[Any], uses: _Uses) -> list[Step]:
    """The equations as one compiled program, if there are any."""
    if not equations:
        return []
    mine = frozenset(map(id, equations))
    part = _part(jaxpr, equations, lambda v: uses.any(v, but=mine))
    function, reads = _compiled("between_layers", part, [True] * len(part.jaxpr.outvars))
    read = tuple(v for v, wanted in zip(part.jaxpr.invars, reads, strict=True) if wanted)
    return [Step(function, read, tuple(part.jaxpr.outvars), ())]


def _compiled(name: str, program: ClosedJaxpr, used: Sequence[bool]) -> tuple[Callable[..., Any], list[bool]]:
    """A program without the results that nothing reads; and which of its arguments it then still takes."""
    jaxpr, reads = dce_jaxpr(program.jaxpr, list(used))
    return jax.jit(_named(name, ClosedJaxpr(jaxpr, program.consts))), reads


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


def _with_frees(steps: Sequence[Step], kept: set[Any]) -> list[Step]:
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


def _is_marked(equation: Any, marks: frozenset[str]) -> bool:
    return equation.primitive.name in _CALLS and equation.params["name"] in marks


def _is_step(equation: Any, marks: frozenset[str]) -> bool:
    """Whether an equation is a marked call, or a condition with such calls."""
    if equation.primitive.name == "cond":
        return any(_has_steps(branch.jaxpr, marks) for branch in equation.params["branches"])
    return _is_marked(equation, marks)


def _is_call_of_steps(equation: Any, marks: frozenset[str]) -> bool:
    """Whether an equation is a call of another function that has marked calls."""
    call = equation.primitive.name in _CALLS and not _is_marked(equation, marks)
    return call and _has_steps(equation.params["jaxpr"].jaxpr, marks)


def _has_steps(jaxpr: Jaxpr, marks: frozenset[str]) -> bool:
    return any(_is_step(equation, marks) or _is_call_of_steps(equation, marks) for equation in jaxpr.eqns)


def _with_steps_outside(program: ClosedJaxpr, marks: frozenset[str]) -> ClosedJaxpr:
    """The same program with the bodies of those calls that have marked calls in place of the calls."""
    if not any(_is_call_of_steps(equation, marks) for equation in program.jaxpr.eqns):
        return program
    avals: Any = program.in_avals
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in avals]
    return jax.make_jaxpr(lambda *values: _opened(program, values, marks))(*shapes)


def _opened(program: ClosedJaxpr, values: Sequence[Any], marks: frozenset[str]) -> list[Any]:
    """The program's results, its calls of layers evaluated by their bodies' equations."""
    jaxpr = program.jaxpr
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*program.consts, *values), strict=True))
    for equation in jaxpr.eqns:
        given = [_value(v, known) for v in equation.invars]
        if _is_call_of_steps(equation, marks):
            found = _opened(equation.params["jaxpr"], given, marks)
        else:
            part = _part(jaxpr, [equation], lambda v: True)
            found = jaxpr_as_fun(part)(*(_value(v, known) for v in part.jaxpr.invars))
        known.update(zip(equation.outvars, found, strict=True))
    return [_value(v, known) for v in jaxpr.outvars]


def _value(variable: Any, known: dict[Any, Any]) -> Any:
    if isinstance(variable, Literal):
        return np.asarray(variable.val, variable.aval.dtype)  # pyright: ignore[reportAttributeAccessIssue]
    return known[variable]
