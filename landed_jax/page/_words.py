"""Texts of tokens, and sentences that describe charts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from landed_jax.printable import printable


def quoted(text: str) -> str:
    r"""A token in quotes, escaped as in a terminal's tables: what does not print is seen and acts on nothing.

    >>> print(quoted(" Rome"), quoted("\u202e"))
    ' Rome' '\u202e'
    """
    return f"'{printable(text)}'"


def token(document: Mapping[str, Any], which: str) -> str | None:
    """The quoted text of a document's ``target`` or ``against``."""
    found = document.get(which)
    return None if found is None else quoted(found["text"])


def value_name(document: Mapping[str, Any]) -> str:
    """What a run accounts for, in words.

    >>> value_name({"target": {"text": " Rome"}, "against": None})
    "the logit of ' Rome'"
    """
    target, against = token(document, "target"), token(document, "against")
    return f"the logit of {target}" if against is None else f"the logit difference {target} over {against}"


def write_name(kind: str, layer: int | None, index: int | None, expert: int | None = None) -> str:
    """A write's name as in the tables of the command line.

    >>> write_name("head", 2, 7, None), write_name("embedding", None, None, None)
    ('head 2.7', 'embedding')
    """
    places = ".".join(str(place) for place in (layer, expert, index) if place is not None)
    words = {"attn": "attention", "mlp": "MLP", "position": "position embedding"}
    return f"{words.get(kind, kind.replace('_', ' '))} {places}".rstrip()


def largest_said(
    rows: Sequence[Mapping[str, Any]], column: str, name: Callable[[Mapping[str, Any]], str], count: int = 3
) -> str:
    """The largest numbers of a column in words, for those who do not see the chart.

    >>> largest_said([{"head": 1, "landed": 0.5}, {"head": 2, "landed": -1.0}], "landed", lambda r: f"head {r['head']}")
    'The largest: head 2 -1.0000, head 1 +0.5000.'
    """
    numbers = [row for row in rows if row[column] is not None]
    largest = sorted(numbers, key=lambda row: -abs(row[column]))[:count]
    if not largest:
        return "It holds no numbers."
    return "The largest: " + ", ".join(f"{name(row)} {row[column]:+.4f}" for row in largest) + "."
