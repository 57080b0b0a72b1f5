"""`landed compare`: attribution methods scored on tasks with known answers."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.options import json_option, model_option
from landed_jax.cli.output import check_json_target, show_result
from landed_jax.cli.progress import status_line
from landed_jax.cli.reading import adapter_option, dtype_option, ignore_field_option
from landed_jax.errors import LandedError

if TYPE_CHECKING:  # slow to import
    from landed_jax.tasks import ListedTask, Task

T = TypeVar("T")

_MOST = 100_000  # prompts

EXAMPLES = """\b
Examples:
  landed compare --task induction --level heads
  landed compare --model HuggingFaceTB/SmolLM2-135M --task "indirect object" --out study --json study.json
  landed compare --task facts --level edges --ablation resample --circuits circuits
"""


@click.command(epilog=EXAMPLES)
@model_option
@click.option(
    "--task",
    "names",
    metavar="NAME|FILE.jsonl",
    multiple=True,
    help="A task, or a file with your own. Default: all tasks that fit the model.",
)
@click.option(
    "--level",
    "levels",
    type=click.Choice(["heads", "nodes", "neurons", "edges"]),
    multiple=True,
    default=("heads", "neurons"),
    show_default=True,
    help="What circuits are made of; nodes are heads and MLPs.",
)
@click.option("--methods", "chosen", metavar="A,B", help="The methods. Default: all.")
@click.option(
    "--ablation",
    "ablations",
    type=click.Choice(["zero", "mean", "resample"]),
    multiple=True,
    default=("zero",),
    show_default=True,
    help="What ablated components become.",
)
@click.option("--prompts", metavar="N", type=click.IntRange(2, _MOST), default=200, show_default=True, help="A task.")
@click.option(
    "--circuit-prompts",
    metavar="N",
    type=click.IntRange(2, _MOST),
    default=32,
    show_default=True,
    help="Of these, how many circuits run on.",
)
@click.option(
    "--neurons",
    metavar="N",
    type=click.IntRange(2, _MOST),
    default=128,
    show_default=True,
    help="How many are ablated alone.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of prompts, sample and intervals.",
)
@adapter_option
@dtype_option
@ignore_field_option
@click.option("--out", metavar="FOLDER", help="Keep what is found as it is found: the same command goes on from there.")
@click.option("--circuits", metavar="FOLDER", help="Write every edge's score, by task and method, as MIB's JSON.")
@json_option
def compare(
    model: str,
    names: tuple[str, ...],
    levels: tuple[str, ...],
    chosen: str | None,
    ablations: tuple[str, ...],
    prompts: int,
    circuit_prompts: int,
    neurons: int,
    seed: int,
    adapter: str | None,
    dtype: str | None,
    ignore_fields: tuple[str, ...],
    out: str | None,
    circuits: str | None,
    json_target: str | None,
) -> None:
    """Score attribution methods: with ablated heads and neurons, by faithfulness, by known evidence, and by cost.

    What is about to be computed, and about how long it takes, is said on stderr before each step.
    """
    check_json_target(json_target)
    if circuits is not None:
        if "edges" not in levels:
            raise LandedError("--circuits writes scores of edges: add --level edges.")
        _check_folder(circuits)
    with status_line("Starting JAX") as status:
        from landed_jax.comparison import Settings
        from landed_jax.comparison import compare as compare_on
        from landed_jax.loading import load
        from landed_jax.methods import methods
        from landed_jax.report.comparison import comparison_document, comparison_report, write_circuits
        from landed_jax.tasks import read_task, tasks
        from landed_jax.testbed.prompts import tasks as testbed_tasks

        known: dict[str, Task | ListedTask] = {**(testbed_tasks() if model == BUNDLED else tasks())}
        known |= {name: read_task(name) for name in names if name not in known and Path(name).suffix == ".jsonl"}
        wanted = _picked(names, known, "task")
        scored = _picked(chosen.split(",") if chosen else (), methods(), "method")
        settings = Settings(
            levels=tuple(dict.fromkeys(levels)),
            ablations=tuple(dict.fromkeys(ablations)),
            prompts=prompts,
            circuit_prompts=circuit_prompts,
            neurons=neurons,
            seed=seed,
        )
        status("Reading weights")
        opened = load(model, progress=status.report, adapter=adapter, dtype=dtype, ignore_fields=ignore_fields)
        settings.check(opened)

        def say(step: str) -> None:
            click.echo(f"landed: {step}", err=True)
            status(step)

        how: dict[str, Any] = {"out": out, "say": say, "report": status.report}
        found = [compare_on(opened, task, scored, settings, **how) for task in wanted]
    document = comparison_document(opened.source, settings, found)
    if circuits is not None:
        write_circuits(circuits, opened.config, found)
    show_result(json_target, lambda: document, lambda: comparison_report(document))


def _picked(names: Sequence[str], known: Mapping[str, T], kind: str) -> list[T]:
    """Those of a mapping that are named, or all of it."""
    for name in names:
        if name not in known:
            raise LandedError(
                f"There is no {kind} {name!r} for this model: the {kind}s are {', '.join(sorted(known))}."
            )
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def _check_folder(circuits: str) -> None:
    path = Path(circuits)
    if path.exists() and not path.is_dir():
        raise LandedError(f"--circuits {circuits} is no folder.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise LandedError(f"--circuits {circuits}: it cannot be written there.")
