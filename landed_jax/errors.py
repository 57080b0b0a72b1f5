"""The exception for bad input, and lists in its message."""

from collections.abc import Sequence

from landed_jax.printable import printable

_LONGEST_ITEM = 300  # characters; names in files may have millions


class LandedError(ValueError):
    r"""Bad input: the message says in plain words what is wrong, where, and what to do.

    The command line prints the message alone and exits with status 2. The message is one line: characters that do not
    print, in names from a file for example, are escaped.

    >>> print(LandedError("There is no tensor 'a\nb'."))
    There is no tensor 'a\nb'.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def listed(problems: Sequence[str], limit: int | None = 12) -> str:
    """Problems as one text: the first `limit` (None: all), each of at most 300 characters, and the count of the rest.

    >>> listed(["a is missing", "b is missing", "c is missing"], limit=2)
    'a is missing; b is missing; and 1 more'
    """
    shown = [cut(problem, _LONGEST_ITEM) for problem in problems[:limit]]
    rest = len(problems) - len(shown)
    return "; ".join([*shown, f"and {rest:,} more"] if rest else shown)


def cut(text: str, length: int) -> str:
    """The text, or its beginning with "..." where it has more than `length` characters.

    >>> cut("abcdefgh", 6), cut("abcdef", 6)
    ('abc...', 'abcdef')
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."
