"""The command line: options, messages and exit statuses of `landed`. Heavy modules are imported when a command runs."""

import sys


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    from landed_jax.cli.interrupt import ends_on_interrupt

    with ends_on_interrupt():  # before the slow imports
        from landed_jax.cli.commands import status_of

        status = status_of(arguments)
    sys.exit(status)
