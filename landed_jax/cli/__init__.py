"""The command line: `landed run`, `convert`, `verify`, `info`. No mathematics, and nothing heavy until it is needed."""

import sys


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    from landed_jax.cli.interrupt import ends_on_interrupt

    with ends_on_interrupt():  # before anything that takes time is imported
        from landed_jax.cli.commands import status_of

        status = status_of(arguments)
    sys.exit(status)
