"""All analyses, by name: what each needs recorded and how it is called.

The tests of transforms (``jit``, ``vmap``, ``grad``, ``shard_map``, lowering for TPU), of questions and of labels take
the analyses from here, so a new analysis is tested as soon as its file exists.
"""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

import landed_jax.analysis
from landed_jax.automatic_axes import on_any_mesh
from landed_jax.errors import LandedError
from landed_jax.nn.hook_points import WRITES, HookPoint
from landed_jax.numerics import highest_precision
from landed_jax.results.padding import without_padding
from landed_jax.results.result import with_provenance
from landed_jax.trace import Trace
from landed_jax.trace_padding import by_shape, is_known, with_padding

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Analysis:
    """A public function from a trace to a result.

    Attributes:
        function: as users call it.
        record: the hook points that the trace must hold.
        example: from a trace to the arguments without which it cannot be called.
        final_only: whether it refuses questions that are read before the final norm.
        bucketed: whether it computes with padding where the trace says so (`Trace.bucketed`).
    """

    function: Callable[..., Any]
    record: frozenset[HookPoint]
    example: Callable[[Trace], Mapping[str, Any]]
    final_only: bool
    bucketed: bool

    @property
    def asks(self) -> bool:
        """Whether it takes a question."""
        return "question" in inspect.signature(self.function).parameters


_FOUND: dict[str, Analysis] = {}


def _nothing(trace: Trace) -> Mapping[str, Any]:
    return {}


def _check_dtype(trace: Trace) -> None:
    """Refuse a float64 trace where JAX computes in 32 bits.

    Raises:
        LandedError: saying how to switch 64 bits on.
    """
    if not jax.config.read("jax_enable_x64") and any(leaf.dtype == "float64" for leaf in trace.sown.values()):
        raise LandedError("This trace is in float64: analyse it where JAX's 64-bit types are on (JAX_ENABLE_X64=1).")


def analysis(
    *,
    record: frozenset[HookPoint] = WRITES,
    example: Callable[[Trace], Mapping[str, Any]] = _nothing,
    final_only: bool = False,
    bucketed: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for an analysis: its first argument is the trace, its second the question where it takes one.

    The function runs under the highest matmul precision unless the user chose another, its result gets the trace's
    provenance, and the registry lists it.

    Args:
        bucketed: it may be computed with padding (`Trace.bucketed`): its result's positions and sources are axes of
            these names, it takes no column as an argument, and no array with an axis of positions but in the question.
    """

    def register(function: Callable[P, R]) -> Callable[P, R]:
        precise = highest_precision(function)

        @on_any_mesh()
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            trace: Any = args[0] if args else kwargs["trace"]
            if not isinstance(trace, Trace):
                return precise(*args, **kwargs)
            _check_dtype(trace)
            more = [*args[1:], *(value for name, value in kwargs.items() if name not in ("trace", "norms"))]
            if not (bucketed and trace.bucketed and is_known(trace)) or any(map(_is_of_positions, more)):
                return with_provenance(precise(*args, **kwargs), trace.provenance)
            padded, padding, axes = with_padding(trace)
            rest = {name: value for name, value in kwargs.items() if name != "trace"}
            found: Any = precise(padded, *args[1:], **rest)  # pyright: ignore[reportCallIssue]
            return with_provenance(by_shape(without_padding, found, padding, axes), trace.provenance)

        _FOUND[function.__name__] = Analysis(wrapped, record, example, final_only, bucketed)
        return wrapped

    return register


def _is_of_positions(value: Any) -> bool:
    """Whether an argument, or a question's part, is an array that may have an axis of positions."""
    names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    parts: list[Any] = [value, *(getattr(value, name) for name in names)]
    return any(np.ndim(part) > 1 for part in parts)


def analyses() -> dict[str, Analysis]:
    """Every analysis of the package, by the name of its function.

    >>> analyses()["closure_error"].asks, analyses()["attribute"].asks
    (False, True)
    """
    for module in pkgutil.walk_packages(landed_jax.analysis.__path__, "landed_jax.analysis."):
        importlib.import_module(module.name)
    return dict(sorted(_FOUND.items()))
