"""The exception for bad input."""

from landed_jax.printable import printable


class LandedError(ValueError):
    r"""Bad input: the message says in plain words what is wrong, where, and what to do.

    The command line prints the message alone and exits with status 2. The message is one line: characters that do not
    print, in names from a file for example, are escaped.

    >>> print(LandedError("There is no tensor 'a\nb'."))
    There is no tensor 'a\nb'.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
