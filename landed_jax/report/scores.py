"""A model's scores on the testbed, as a table and as plain values."""

from typing import Any

from rich.console import RenderableType

from landed_jax.report.plain_table import plain_table
from landed_jax.testbed.scoring import Score


def score_report(scores: list[Score], *, held_out: bool) -> RenderableType:
    """A row for each condition; the figure that counts for the task is in bold."""
    table = plain_table("Combinations that were held out of training" if held_out else "Combinations of the training")
    table.add_column("task")
    table.add_column("condition")
    for name in ("prompts", "right word first", "above the foil"):
        table.add_column(name, justify="right")
    task = ""
    for score in scores:
        figures = [f"{score.first:.1%}", f"{score.above_foil:.1%}"]
        figures[score.by_foil] = f"[bold]{figures[score.by_foil]}[/]"
        table.add_row("" if score.task == task else score.task, score.condition, str(score.count), *figures)
        task = score.task
    table.caption = "Agreement is judged against the foil, as many verbs may follow; the others by the likeliest word."
    return table


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
