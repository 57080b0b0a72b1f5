"""A model's scores on the testbed, as a table and as plain values."""

from typing import Any

from landed_jax.tables.table import Column, Table
from landed_jax.testbed.scoring import Score


def score_report(scores: list[Score], *, held_out: bool) -> Table:
    """A row for each condition; the figure that counts for the task has a star."""
    columns = [
        Column("task and condition", left=True, wrap=True),
        Column("prompts", drop=1),
        Column("right word\nfirst"),
        Column("above\nthe foil"),
    ]
    rows: list[list[str]] = []
    for score in scores:
        figures = [f"{score.first:.1%} ", f"{score.above_foil:.1%} "]
        figures[score.by_foil] = f"{figures[score.by_foil][:-1]}*"
        rows.append([f"{score.task}: {score.condition}", str(score.count), *figures])
    title = "Combinations that were held out of training" if held_out else "Combinations of the training"
    note = (
        "*: what counts. Agreement is judged against the foil, as many verbs may follow; others by the likeliest word."
    )
    return Table(title, columns, rows, notes=[note], elsewhere="--json")


def score_document(model: str, scores: list[Score]) -> dict[str, Any]:
    """The JSON object of ``landed testbed score --json``."""
    return {
        "model": model,
        "scores": [
            {
                "task": score.task,
                "condition": score.condition,
                "prompts": score.count,
                "right_word_first": score.first,
                "above_foil": score.above_foil,
                "judged": score.judged,
            }
            for score in scores
        ],
    }
