"""The methods, found by their files."""

import functools
import importlib
import pkgutil

import landed_jax.methods
from landed_jax.methods._method import Method


@functools.cache
def methods() -> dict[str, Method]:
    """Every method by its name.

    >>> import landed_jax as landed
    >>> from landed_jax.testbed import prompts
    >>> model = landed.load()
    >>> [pairs] = landed.tasks.pairs_of(landed.tasks.kept(model, prompts.tasks()["facts"].prompts(4)))
    >>> scores = methods()["attribution patching"].score(model, pairs)
    >>> scores.heads.shape == (4, 4, 8), scores.neurons.shape == (4, 4, 384), scores.tokens.shape[0] == 4
    (True, True, True)
    """
    names = sorted(module.name for module in pkgutil.iter_modules(landed_jax.methods.__path__))
    public = [importlib.import_module(f"landed_jax.methods.{name}") for name in names if not name.startswith("_")]
    return {module.METHOD.name: module.METHOD for module in public}
