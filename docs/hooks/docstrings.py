"""Doctests of docstrings as code on the pages of the reference: Markdown would take `>>>` for a quotation."""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1(?=\S).*|\n\1 +\S.*)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts a fence around each doctest."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """A docstring with its doctests as blocks of code."""
    return _DOCTEST.sub(lambda found: f"{found[1]}```python\n{found[0]}\n{found[1]}```", docstring)
