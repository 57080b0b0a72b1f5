"""The one exception that bad input raises."""

from landed_jax.printable import printable


class LandedError(ValueError):
    r"""Bad input: the message says in plain words what is wrong, where, and what to do.

    The command line prints the message alone and exits with code 2. It is one line, whatever a file's names hold:
    characters that do not print are escaped.

    >>> print(LandedError("There is no tensor 'a\nb'."))
    There is no tensor 'a\nb'.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
