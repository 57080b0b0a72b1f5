"""A program of its own: it passes XLA's messages on to standard error, but for its last words on a lost process.

JAX ends the other processes of a distributed program by `abort`, from a thread that Python has no say in, with a trace
of its stack. This program says it in one sentence.
"""

import re
import signal
import sys

_LAST_WORDS = b"Terminating process because the JAX distributed service detected fatal errors"
_GREETING = b"[Gloo] Rank "  # of each group of processes that is connected, on standard output
_SILENT = re.compile(rb"stopped sending heartbeats\):\s*(\d+(?:[\s,]+\d+)*)")


def sentence(words: bytes) -> str:
    """What happened, by JAX's words.

    >>> sentence(b"tasks are unhealthy (stopped sending heartbeats):\\n1")
    'landed: Process 1 of this command is lost, so the others end too: give the command again.'
    """
    found = _SILENT.search(words)
    numbers = re.findall(r"\d+", found[1].decode()) if found else ["0"]  # the first holds the service
    lost = f"Process {numbers[0]} of this command is" if len(numbers) == 1 else f"Processes {', '.join(numbers)} are"
    return f"landed: {lost} lost, so the others end too: give the command again."


def main() -> None:
    """Until the end of standard input, which is the end of the process that writes to it."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    for line in iter(sys.stdin.buffer.readline, b""):
        if _LAST_WORDS in line:
            line = f"{sentence(line + sys.stdin.buffer.read())}\n".encode()
        if not line.startswith(_GREETING):
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()


if __name__ == "__main__":
    main()
