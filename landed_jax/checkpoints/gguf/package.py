"""The package `gguf`: what the format's numbers mean, and how its blocks are dequantised."""

import importlib
from typing import Any

from landed_jax.errors import LandedError


def gguf_package() -> Any:
    """The package, imported where a file needs it.

    Raises:
        LandedError: where it is not installed.
    """
    try:
        return importlib.import_module("gguf")
    except ImportError as error:
        raise LandedError(
            "Reading a GGUF file needs the package gguf: pip install 'landed-jax[gguf]' (or pip install gguf)."
        ) from error
