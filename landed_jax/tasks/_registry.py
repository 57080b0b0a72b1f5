"""The tasks, found by their files."""

import functools
import importlib
import pkgutil

import landed_jax.tasks
from landed_jax.tasks._prompt import Task


@functools.cache
def tasks() -> dict[str, Task]:
    """Every task by its name.

    >>> sorted(tasks())
    ['agreement', 'greater than', 'indirect object']
    """
    names = sorted(module.name for module in pkgutil.iter_modules(landed_jax.tasks.__path__))
    public = [importlib.import_module(f"landed_jax.tasks.{name}") for name in names if not name.startswith("_")]
    return {module.TASK.name: module.TASK for module in public}
