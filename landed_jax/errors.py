"""The exception for bad input, what stands in its message, and the category of warnings."""

from collections.abc import Sequence
from typing import Any

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


class Refusal(LandedError):
    """Bad input for several reasons, of which the message shows the first twelve.

    Attributes:
        problems: all reasons.

    >>> str(Refusal("It cannot be read", [f"{n} is missing" for n in range(14)]))[-61:]
    '11 is missing; and 2 more: landed info MODEL --why lists all.'
    """

    def __init__(
        self, start: str, problems: Sequence[str], elsewhere: str = "landed info MODEL --why lists all"
    ) -> None:
        text = listed(problems)
        more = "" if text == listed(problems, None) else f": {elsewhere}"
        super().__init__(f"{start}: {text}{more}.")
        self.problems = tuple(problems)


class LandedWarning(UserWarning):
    """Something was read otherwise than a file says, and the numbers may depend on it.

    The command line prints the message as one line on standard error.
    """


def listed(problems: Sequence[str], limit: int | None = 12) -> str:
    """Problems as one text: the first `limit` (None: all), each of at most 300 characters, and the count of the rest.

    >>> listed(["a is missing", "b is missing", "c is missing"], limit=2)
    'a is missing; b is missing; and 1 more'
    """
    shown = [cut(problem, _LONGEST_ITEM) for problem in problems[:limit]]
    rest = len(problems) - len(shown)
    return "; ".join([*shown, f"and {rest:,} more"] if rest else shown)


def shown(value: Any) -> str:
    """A value as error messages show it, at most 80 characters.

    >>> shown([1, "a"]), shown(10**5000)
    ("[1, 'a']", '(a value of type int)')
    """
    try:
        return cut(repr(value), 80)
    except (ValueError, RecursionError):  # a number of more than 4,300 digits; lists in lists in lists
        return f"(a value of type {type(value).__name__})"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, cut to 300 characters."""
    lines = str(error).strip().splitlines()
    return cut(lines[0], 300) if lines else type(error).__name__


def cut(text: str, length: int) -> str:
    """The text, or its beginning with "..." where it has more than `length` characters.

    >>> cut("abcdefgh", 6), cut("abcdef", 6)
    ('abc...', 'abcdef')
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."
