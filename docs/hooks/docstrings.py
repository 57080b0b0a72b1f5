"""Docstrings as the reference shows them: Markdown would take the `>>>` of a doctest for a quotation."""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1(?=\S).*|\n\1 +\S.*)*", re.MULTILINE)


# "error, size: …" describes two attributes. A space would begin a type.
_SEVERAL = re.compile(r"^    \w+(, \w+)+(?=: )", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Puts a fence around each doctest, and keeps names that are described together."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _SEVERAL.sub(
                lambda found: found[0].replace(", ", ",\N{NO-BREAK SPACE}"), fenced(obj.docstring.value)
            )


def fenced(docstring: str) -> str:
    """A docstring with its doctests as blocks of code."""
    return _DOCTEST.sub(lambda found: f"{found[1]}```python\n{found[0]}\n{found[1]}```", docstring)
