"""The claims, found by their files."""

import functools
import importlib
import pkgutil

import landed_jax.claims
from landed_jax.claims._claim import Claim


@functools.cache
def claims() -> dict[str, Claim]:
    """Every claim by its name.

    >>> "amplified writes" in claims()
    True
    """
    names = sorted(module.name for module in pkgutil.iter_modules(landed_jax.claims.__path__))
    public = [importlib.import_module(f"landed_jax.claims.{name}") for name in names if not name.startswith("_")]
    return {module.CLAIM.name: module.CLAIM for module in public}
