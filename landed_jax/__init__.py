"""Landed writes: what each head and neuron of a language model writes, as the model hears it.

All public names are imported together when the first of them is asked for, so that `landed --help` waits for no JAX.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Type checkers and editors see the public names here, as `__getattr__` gives them; nothing is imported when run.
    # F403 warns that a star hides what it brings: here public.__all__ lists it, and a second list would drift from it.
    from landed_jax.public import *  # noqa: F403  (the names are those of public.__all__)

__version__ = "0.1.0"


class _Package(ModuleType):
    """Python binds the submodule `forward` to this package once it is imported; here that name is the function's."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "forward" and isinstance(value, ModuleType):
            value = value.forward
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__all__":  # Python's own questions are no reason to import anything
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = importlib.import_module("landed_jax.public")
    globals().update({"__all__": public.__all__} | {each: getattr(public, each) for each in public.__all__})
    if name not in globals():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
