"""The command line: `landed run`, `convert`, `verify`, `info`. No mathematics, and nothing heavy until it is needed."""

import sys
import threading


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    from landed_jax.cli.interrupt import exit_on_interrupt

    ending = exit_on_interrupt()  # before anything that takes time is imported
    from landed_jax.cli.commands import status_of

    status = status_of(arguments)
    if ending.is_set():  # the other thread ends the process, with its own status
        threading.Event().wait()
    sys.exit(status)
