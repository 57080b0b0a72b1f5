"""Errors of tokenizers as one sentence: they raise many types, and a panic of their Rust code is no `Exception`.

And what they print is kept out of standard output, which may carry a JSON document.
"""

import contextlib
import functools
import inspect
import os
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
    landed_jax.errors.LandedError: The tokenizer failed: panicked (BaseException)
    """
    try:
        yield
    except _NOT_ITS_OWN:
        raise
    except BaseException as error:  # pyo3's PanicException derives from it
        raise LandedError(f"{what}: {first_line(error)} ({type(error).__name__})") from error


@contextlib.contextmanager
def prints_go_to_stderr() -> Iterator[None]:
    """What is written to the process's standard output, by Rust code too, goes to standard error during the block."""
    try:
        kept = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def raises_landed_errors(kind: C) -> C:
    """A class decorator: errors in any method of the class, `__init__` and the like excepted, become `LandedError`s.

    Their message begins with the object's ``name``.
    """
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and not name.startswith("__"):
            setattr(kind, name, _guarded(method))
    return kind


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        with tokenizer_errors(f"{self.name} cannot be used"):
            return method(self, *args, **kwargs)

    return guarded
