"""The sections of the page.

Each section is one file of this folder, which gives its value the name ``SECTION`` (`section.PageSection` says what is
in it). A new section is a new file here and its test. They come in the order of `PageSection.place`.
"""

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landed_jax.page.sections.section import PageSection


@cache
def page_sections() -> "tuple[PageSection, ...]":
    """All sections, in their order.

    >>> [section.name for section in page_sections() if section.of == "run"][:2]
    ['value', 'waterfall']
    """
    names = (module.name for module in pkgutil.iter_modules(__path__) if module.name != "section")
    found = [importlib.import_module(f"{__name__}.{name}").SECTION for name in names]
    return tuple(sorted(found, key=lambda section: (section.place, section.name)))
