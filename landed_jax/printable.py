"""Escapes for control characters in text from models, prompts and files."""


def printable(text: str) -> str:
    r"""The text with every character that does not print written as an escape, as in a Python string.

    Terminal escapes, line breaks, NUL, bidirectional overrides and lone surrogates lose their effect: a file's name
    cannot colour a terminal, or forge a line of output. Unicode's categories Cc, Cf, Cs, Co, Cn, Zl, Zp, and Zs but
    for the plain space.

    >>> print(printable("model\x1b[31m\u202eγ"))
    model\x1b[31m\u202eγ
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
