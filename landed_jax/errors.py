"""The one exception that bad input raises."""


class LandedError(ValueError):
    """Bad input: the message says in plain words what is wrong, where, and what to do.

    The command line prints the message alone and exits with code 2.
    """
