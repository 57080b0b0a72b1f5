"""A ladder of differences from the reference as tables."""

from landed_jax.parity.ladder import Ladder
from landed_jax.tables.table import Column, Table


def ladder_table(ladder: Ladder) -> list[Table]:
    """Every rung's difference, and the logits' by position."""
    columns = [
        Column("rung", left=True),
        Column("largest\ndifference", drop=1),
        Column("of its\nlargest value"),
        Column("", left=True),
    ]
    rows = [
        [rung.name, f"{rung.difference:.2e}", f"{rung.relative:.1e}", "" if rung.passes else "differs"]
        for rung in ladder.rungs
    ]
    by_position = [[str(position), f"{difference:.2e}"] for position, difference in enumerate(ladder.by_position)]
    return [
        Table("Difference from the reference, by module", columns, rows),
        Table("Largest logit difference, by position", [Column("position"), Column("difference")], by_position),
    ]
