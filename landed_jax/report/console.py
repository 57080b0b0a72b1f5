"""Printing a report to standard output."""

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.text import Text

from landed_jax.printable import printable


class _Output(Console):
    """Standard output whose reader may go away (`| head`): that is the caller's to see, not an exit in silence."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_report(report: RenderableType) -> None:
    """Print to stdout, as wide as the terminal, or wide enough for the tables where there is none."""
    console = _Output(emoji=False)
    if console.width < 80 or not console.is_terminal:
        console = _Output(width=max(console.width, 80 if console.is_terminal else 120), emoji=False)
    console.print(report)


def print_heading(text: str) -> None:
    """Print a line across the page, with a text in it: where one account of several begins."""
    print_report(Rule(Text(printable(text)), align="left"))
