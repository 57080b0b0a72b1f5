"""`landed testbed`: the language with known answers, training on it, and scores of a model."""

from pathlib import Path

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.output import check_json_target, show_result
from landed_jax.printable import printable

_MOST = 1_000_000  # draws

EXAMPLES = """\b
Examples:
  landed testbed score
  landed testbed show facts --count 3
  landed testbed train ./my-model --seed 1
"""


@click.group(epilog=EXAMPLES)
def testbed() -> None:
    """Tasks with known answers, and the small model of this package that was trained on them."""


@testbed.command()
@click.option(
    "--model", metavar="M", default=BUNDLED, help="A model trained by `landed testbed train`. Default: the bundled one."
)
@click.option(
    "--count", metavar="N", type=click.IntRange(1, _MOST), default=200, show_default=True, help="Draws a row."
)
@click.option("--learnt", is_flag=True, help="Combinations that occur in training instead of held-out ones.")
@click.option("--json", "json_target", metavar="FILE|-", help="Write JSON to a file, or alone to standard output.")
def score(model: str, count: int, learnt: bool, json_target: str | None) -> None:
    """Measure how often a model gives the right word in held-out sentences."""
    check_json_target(json_target)

    from landed_jax.cli.progress import status_line

    with status_line("Starting JAX") as status:
        from landed_jax.loading import load
        from landed_jax.report.scores import score_document, score_report
        from landed_jax.testbed.scoring import score_model

        status("Reading weights")
        opened = load(model, progress=status.report)
        status("Compiling and running the prompts")
        scores = score_model(opened, count, held_out=not learnt)
    show_result(
        json_target,
        lambda: score_document(opened.source, scores),
        lambda: [score_report(scores, held_out=not learnt)],
    )


@testbed.command()
@click.argument("task", required=False)
@click.option("--count", metavar="N", type=click.IntRange(1, _MOST), default=2, show_default=True, help="Pairs a row.")
@click.option("--learnt", is_flag=True, help="Combinations that occur in training instead of held-out ones.")
def show(task: str | None, count: int, learnt: bool) -> None:
    """Print prompts of TASK, or of all, with answer, foil and matched corrupted prompt."""
    from landed_jax.errors import LandedError
    from landed_jax.testbed.language import TASKS, conditions, pairs

    if task is not None and task not in TASKS:
        raise LandedError(f"There is no task {task!r}: the tasks are {', '.join(TASKS)}.")
    for name, condition in conditions():
        if task in (None, name):
            click.echo(f"{name}: {condition}")
            for pair in pairs(name, condition, count, held_out=not learnt):
                click.echo(f"  {pair.clean.prompt} [{pair.clean.answer}, not {pair.clean.foil}]")
                click.echo(f"  {pair.corrupted.prompt} [{pair.corrupted.answer}]")


@testbed.command()
@click.argument("dst", type=click.Path())
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="Updates. Default: as for the bundled model.")
@click.option("--seed", metavar="S", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "--keep-steps", metavar="STEPS", help="Models to keep in DST/steps: 0,100,200, or powers, for 0, 1, 2, 4, …"
)
def train(dst: str, steps: int | None, seed: int, keep_steps: str | None) -> None:
    """Train a model on the language and write it to DST, a folder in Hugging Face layout.

    DST must not exist yet. A training that was interrupted goes on from its last checkpoint when it is started again.
    """
    import dataclasses

    from landed_jax.cli.progress import training_bar
    from landed_jax.memory.host import default_platform
    from landed_jax.testbed.training import Recipe
    from landed_jax.testbed.training import train as train_model

    default_platform()  # said before anything is made
    recipe = Recipe(seed=seed) if steps is None else dataclasses.replace(Recipe(seed=seed), steps=steps)
    kept = _steps_of(keep_steps, recipe.steps)
    with training_bar(recipe.steps) as watch:
        train_model(Path(dst), recipe, watch=watch, keep_steps=kept)
    click.echo(f"Wrote {printable(dst)}")


def _steps_of(text: str | None, steps: int) -> list[int]:
    from landed_jax.errors import LandedError, cut
    from landed_jax.testbed.training import powers_of_two

    if text is None:
        return []
    if text == "powers":
        return powers_of_two(steps)
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise LandedError(f"--keep-steps takes step numbers separated by commas, or powers, not {cut(text, 60)!r}.")
    if long := [part for part in parts if len(part) > 18]:  # `int` refuses thousands of digits
        raise LandedError(f"--keep-steps names step {cut(long[0], 30)}, which has more than 18 digits.")
    return [int(part) for part in parts]
