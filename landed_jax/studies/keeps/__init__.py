"""What a study keeps, one file each: what it measures of a batch, under the name ``KEEP``.

A new keep is a new file here and its test: `landed.study` and ``landed study`` find it.
"""

import importlib
import pkgutil
from functools import cache

from landed_jax.errors import LandedError
from landed_jax.studies._measured import Keep


@cache
def keeps() -> dict[str, Keep]:
    """Every keep by its name.

    >>> sorted(keeps())[:4]
    ['attribution', 'coordinates', 'effects', 'lens']
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = [importlib.import_module(f"{__name__}.{name}").KEEP for name in names]
    return {keep.name: keep for keep in found}


def keep_named(name: str) -> Keep:
    """The keep of this name.

    Raises:
        LandedError: where there is none.
    """
    if name not in keeps():
        raise LandedError(f"There is nothing to keep by the name {name!r}: there are {', '.join(keeps())}.")
    return keeps()[name]
