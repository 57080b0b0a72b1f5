"""What text is laid out for: a number of columns, and an encoding."""

import os
import sys
from dataclasses import dataclass

from landed_jax.printable import printable

NARROWEST = 40
"""Columns below which nothing is fitted any more: what is printed is then wider than the terminal."""

# What stands for the package's own symbols where an encoding lacks them.
_SPELT = str.maketrans(
    {"σ": "sigma", "γ": "gamma", "β": "beta", "ε": "epsilon", "Σ": "sum", "√": "sqrt ", "²": "^2"}
    | {"…": "...", "─": "-", "–": "-", "×": "x", "·": "*", "±": "+-", "−": "-", "→": "->"}
    | {"░": ":", "▒": "o", "▓": "O", "█": "@", "≡": "~", "␣": "_", "‖": "||", "∂": "d"}
)


@dataclass(frozen=True)
class Screen:
    """Columns of one character cell each, and the encoding that has to hold the characters.

    >>> Screen(80, "ascii").own("|γ|/σ of 'é'")
    "|gamma|/sigma of '\\\\xe9'"
    """

    width: int = 120
    encoding: str = "utf-8"

    def holds(self, text: str) -> bool:
        """Whether the encoding has all these characters."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def own(self, text: str) -> str:
        """The package's own words, and names: what does not print, or has no place in the encoding, is escaped."""
        text = printable(text)
        if self.holds(text):
            return text
        return text.translate(_SPELT).encode(self.encoding, "backslashreplace").decode(self.encoding)

    @property
    def ellipsis(self) -> str:
        return self.own("…")


def standard_output() -> Screen:
    """The terminal's width; in a pipe 120 columns. COLUMNS comes before both, and `NARROWEST` is the least."""
    stream = sys.stdout
    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() else 0
    if width <= 0:
        try:
            width = os.get_terminal_size(stream.fileno()).columns or 80  # 0 where a terminal does not know
        except (AttributeError, OSError, ValueError):  # no stream, no terminal, a closed stream
            width = 120
    return Screen(max(width, NARROWEST), getattr(stream, "encoding", None) or "utf-8")
