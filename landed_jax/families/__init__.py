"""Model families: one file each, found by this registry."""

import functools
import importlib
import pkgutil

from landed_jax.families.family import Family as Family

_NOT_FAMILIES = ("family", "reading")


@functools.cache
def families() -> dict[str, Family]:
    """Every family by its name, Llama first.

    >>> list(families())[0], families()["qwen3"].architecture
    ('llama', 'Qwen3ForCausalLM')
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NOT_FAMILIES)
    found = [importlib.import_module(f"{__name__}.{name}").FAMILY for name in names]
    return {family.name: family for family in sorted(found, key=lambda family: family.name != "llama")}
