"""A ladder of differences from the reference as tables."""

from rich.console import Group, RenderableType
from rich.text import Text

from landed_jax.parity.ladder import Ladder
from landed_jax.report.plain_table import plain_table


def ladder_table(ladder: Ladder) -> RenderableType:
    """Every rung's difference, and the logits' by position."""
    rungs = plain_table("Difference from the reference, by module")
    for name in ("rung", "largest difference", "of its largest value", ""):
        rungs.add_column(name, justify="left" if name in ("rung", "") else "right")
    for rung in ladder.rungs:
        mark = "" if rung.passes else "[bold red]differs[/]"
        rungs.add_row(rung.name, f"{rung.difference:.2e}", f"{rung.relative:.1e}", mark)
    positions = plain_table("Largest logit difference, by position")
    positions.add_column("position", justify="right")
    positions.add_column("difference", justify="right")
    for position, difference in enumerate(ladder.by_position):
        positions.add_row(str(position), f"{difference:.2e}")
    return Group(rungs, Text(), positions)
