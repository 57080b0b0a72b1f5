"""Printing a report to standard output."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from landed_jax.printable import printable
from landed_jax.tables.draw import draw
from landed_jax.tables.screen import standard_output
from landed_jax.tables.table import Block, Paragraph


class _Output(Console):
    """Standard output whose reader may go away (`| head`): that is the caller's to see, not an exit in silence."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_report(blocks: Sequence[Block]) -> None:
    """Print to stdout, as wide as the terminal, or 120 columns where there is none; COLUMNS comes before both.

    Rich gives the lines their style, where there is a terminal, and leaves their length alone.
    """
    console = _Output(highlight=False, emoji=False, markup=False)
    for line in draw(blocks, standard_output()):
        console.print(Text(line.text, line.style), soft_wrap=True)


def print_heading(text: str) -> None:
    """Print the line with which one account of several begins."""
    print_report([Paragraph(f"── {printable(text)} ──", "bold")])
