"""Model families: one file each, found by this registry."""

import functools
import importlib
import pkgutil
from types import ModuleType

from landed_jax.families.family import Family as Family
from landed_jax.families.family import Wrapper as Wrapper

_NOT_FAMILIES = ("family", "reading")


@functools.cache
def families() -> dict[str, Family]:
    """Every family by its name, Llama first.

    >>> list(families())[0], families()["qwen3"].architecture
    ('llama', 'Qwen3ForCausalLM')
    """
    found: list[Family] = [module.FAMILY for module in _modules() if hasattr(module, "FAMILY")]
    return {family.name: family for family in sorted(found, key=lambda family: family.name != "llama")}


@functools.cache
def wrappers() -> dict[str, Wrapper]:
    """Every kind of checkpoint that holds a family's model beside other parts, by its name.

    >>> wrappers()["mistral3"].texts
    ('mistral', 'ministral3')
    """
    found: list[Wrapper] = [module.WRAPPER for module in _modules() if hasattr(module, "WRAPPER")]
    return {wrapper.name: wrapper for wrapper in found}


def _modules() -> list[ModuleType]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NOT_FAMILIES)
    return [importlib.import_module(f"{__name__}.{name}") for name in names]
