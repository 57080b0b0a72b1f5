"""Standard output and standard error that may be closed, or on a full disk."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class _Forgiving:
    """A text stream that drops what cannot be written."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def forgiving_stderr() -> Iterator[None]:
    """Drop what is written to a closed or full standard error during the block; it would end the run by an error."""
    if sys.stderr is None:
        yield
        return
    stream: Any = _Forgiving(sys.stderr)
    with contextlib.redirect_stderr(stream):
        yield


def give_up_stdout() -> None:
    """Write to nowhere from now on: Python would flush into the closed pipe again at exit, and report an error."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in {1, sys.stdout.fileno()}:  # `--hosts` has moved it
            os.dup2(nowhere, number)
        os.close(nowhere)
