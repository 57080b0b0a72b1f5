"""Tokens, names and prompts as they are shown: escaped, and shortened with an ellipsis where there is no room."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from landed_jax.tables.screen import Screen

_MARKS = 3  # zero-width characters on one character; more would reach into the lines above and below


def quote_of(text: str) -> str:
    """The quote that `repr` would choose."""
    return '"' if "'" in text and '"' not in text else "'"


def units(text: str, screen: Screen, quote: str = "'") -> list[str]:
    r"""The text in parts that are shown whole or not at all: a character with its combining marks, or an escape.

    As `repr` escapes; and also what the screen's encoding lacks, and a mark that has nothing before it to stand on.

    >>> ascii(units("e\u0301\n\u0301", Screen()))
    "['e\\u0301', '\\\\n', '\\\\u0301']"
    """
    found: list[str] = []
    marks = _MARKS  # as many as there may be: the next has nothing to stand on
    for char in text:
        shown = f"\\{char}" if char in (quote, "\\") else char
        escaped = not (char.isprintable() and screen.holds(char))
        mark = not escaped and cell_len(char) == 0
        if mark and marks < _MARKS:
            found[-1] += char
            marks += 1
            continue
        if escaped or mark:
            shown = char.encode("unicode_escape").decode("ascii")
        found.append(shown)
        marks = _MARKS if escaped or mark else 0
    return found


def _first(parts: Sequence[str], room: int) -> list[str]:
    """As many of the first parts as there is room for."""
    kept: list[str] = []
    for part in parts:
        room -= cell_len(part)
        if room < 0:
            break
        kept.append(part)
    return kept


@dataclass(frozen=True)
class Quoted:
    r"""The text of a token in quotes. Its ellipsis stands behind the quote, so that it is not the token's own.

    Attributes:
        before, after: shown beside the quotes, and never shortened.

    >>> Quoted(" Colosseum", after="@2").fit(11, Screen()), Quoted("\0").fit(None, Screen())
    ("' Colos'…@2", "'\\x00'")
    """

    text: str
    before: str = ""
    after: str = ""

    def fit(self, width: int | None, screen: Screen) -> str:
        """The text in at most this many cells, or in one more than `before`, `after` and the ellipsis take."""
        before, after, quote = screen.own(self.before), screen.own(self.after), quote_of(self.text)
        parts = units(self.text, screen, quote)
        whole = f"{before}{quote}{''.join(parts)}{quote}{after}"
        if width is None or cell_len(whole) <= width:
            return whole
        kept = "".join(_first(parts, width - cell_len(before + after + screen.ellipsis) - 2))
        return f"{before}{quote}{kept}{quote}{screen.ellipsis}{after}" if kept else f"{before}{screen.ellipsis}{after}"

    def least(self, screen: Screen) -> int:
        """The cells that it takes at the least: two of the text, or the whole."""
        return min(cell_len(self.fit(None, screen)), cell_len(self.before + self.after + screen.ellipsis) + 4)


@dataclass(frozen=True)
class Name:
    """The name of a model or a file, with an ellipsis in its middle where there is no room.

    >>> Name("/home/ann/models/llama").fit(14, Screen())
    '/hom…els/llama'
    """

    text: str

    def fit(self, width: int, screen: Screen) -> str:
        # A name is not in quotes: its backslashes stand for themselves.
        parts = ["\\" if part == "\\\\" else part for part in units(self.text, screen, "")]
        if cell_len("".join(parts)) <= width:
            return "".join(parts)
        room = width - cell_len(screen.ellipsis)
        head = _first(parts, room // 3)
        tail = _first(parts[::-1], room - cell_len("".join(head)))[::-1]
        return f"{''.join(head)}{screen.ellipsis}{''.join(tail)}"


@dataclass(frozen=True)
class Passage:
    """A prompt in quotes, over several lines; of a long one the beginning and the end."""

    text: str
    lines: int = 4

    def parts(self, screen: Screen) -> Iterator[str]:
        """Its words, each with the space behind it: a line may end between two."""
        quote = quote_of(self.text)
        parts = units(self.text, screen, quote)
        if cell_len("".join(parts)) > self.lines * screen.width:
            room = self.lines * screen.width // 2 - 4
            head, tail = _first(parts, room), _first(parts[::-1], room)[::-1]
            parts = [*head, quote, " ", screen.ellipsis, " ", quote, *tail]
        word = quote
        for part in [*parts, quote]:
            if word and cell_len(word) + cell_len(part) > screen.width:
                yield word
                word = ""
            word += part
            if part == " ":
                yield word
                word = ""
        yield word
