"""The sections of `landed run`: what it finds out beside the account when an option asks for it.

Each section is one file of this folder, which gives its value the name ``SECTION`` (`section.Section` says what is in
it). A new section is a new file here and its test: the command line, the JSON, the tables and the data set take all
sections from `sections`. The command line's help reads these files too, so they import JAX, NumPy and rich inside
their functions only.

The order of the sections, in ``--help`` and in every output, is that of `Section.place`, and of names within one
place. A section that gives no place comes after those that do.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from landed_jax.errors import LandedError

if TYPE_CHECKING:
    from landed_jax.report.sections.section import Section


@cache
def sections() -> "tuple[Section, ...]":
    """All sections, in their order.

    >>> [section.option for section in sections()][:2]
    ['--by-source', '--effects']
    """
    names = (module.name for module in pkgutil.iter_modules(__path__) if module.name != "section")
    found = [importlib.import_module(f"{__name__}.{name}").SECTION for name in names]
    return tuple(sorted(found, key=lambda section: (section.place, section.name)))


def sections_named(names: Sequence[str]) -> "list[Section]":
    """The sections of these names, in their own order.

    Raises:
        LandedError: for a name that no section has.

    >>> [section.json_field for section in sections_named(["lens", "by_source"])]
    ['by_source', 'lens']
    """
    known = [section.name for section in sections()]
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in known:
            raise LandedError(f"There is no section {name!r}: there are {', '.join(known)}.")
    return [section for section in sections() if section.name in names]
