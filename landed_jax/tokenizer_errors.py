"""Errors of tokenizers as one sentence: they raise many types, and a panic of their Rust code is no `Exception`."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from landed_jax.errors import LandedError, first_line

C = TypeVar("C", bound=type)

_NOT_ITS_OWN = (LandedError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit)


@contextlib.contextmanager
def tokenizer_errors(what: str) -> Iterator[None]:
    """Raise every error of the block as a `LandedError` that begins with `what`; shortage and interrupts are unchanged.

    >>> with tokenizer_errors("The tokenizer failed"):
    ...     raise BaseException("panicked")
    Traceback (most recent call last):
    landed_jax.errors.LandedError: The tokenizer failed: panicked
    """
    try:
        yield
    except _NOT_ITS_OWN:
        raise
    except BaseException as error:  # pyo3's PanicException derives from it
        raise LandedError(f"{what}: {first_line(error)}") from error


def raises_landed_errors(kind: C) -> C:
    """A class decorator: errors in any method of the class, `__init__` and the like excepted, become `LandedError`s."""
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and not name.startswith("__"):
            setattr(kind, name, _guarded(method))
    return kind


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with tokenizer_errors("The tokenizer of this model failed"):
            return method(*args, **kwargs)

    return guarded
