"""`landed study`, `landed merge`, `landed rerun`."""

import shlex
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.options import json_option
from landed_jax.cli.output import check_json_target, encoding_of, write_text
from landed_jax.cli.progress import Status, status_line
from landed_jax.errors import LandedError

if TYPE_CHECKING:
    from landed_jax.studies import Study

EXAMPLES = """\b
Examples:
  landed study testbed:induction --out induction
  landed study prompts.jsonl --model ./llama --keep scale,attribution,effects --out llama-study
  landed study table.csv --column text --out study
"""


@click.command(epilog=EXAMPLES)
@click.argument("prompts")
@click.option("--model", metavar="M", default=BUNDLED, help="A folder or Hugging Face id. Default: the bundled model.")
@click.option(
    "--keep", metavar="NAMES", default="scale,attribution", show_default=True, help="What is kept; see above."
)
@click.option("--out", metavar="STORE", help="The study's folder, a Zarr group. Given again, it goes on.")
@click.option("--column", metavar="NAME", help="The prompts' column of a CSV or Parquet file. Default: prompt.")
@click.option(
    "--count", metavar="N", type=click.IntRange(1, 10_000_000), default=1000, show_default=True, help="Of a task."
)
@click.option("--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of a task.")
@click.option(
    "--position", metavar="N", type=click.IntRange(max=-1), default=-1, help="From the end. Default: the last."
)
@click.option("--ids", is_flag=True, help="Prompts are token ids.")
@click.option("--no-bos", is_flag=True, help="Add no special tokens to a prompt.")
@json_option
def study(
    prompts: str,
    model: str,
    keep: str,
    out: str | None,
    column: str | None,
    count: int,
    seed: int,
    position: int,
    ids: bool,
    no_bos: bool,
    json_target: str | None,
) -> None:
    """Statistics over thousands of prompts.

    PROMPTS is a file (a prompt a line, .jsonl, .csv, .parquet), - for standard input, task:NAME or testbed:NAME for a
    task with answers, or hf:NAME[:SPLIT] for a data set of Hugging Face.

    --keep names any of scale, attribution, effects, coordinates, lens, sigma_gap and top, separated by commas.

    With --out every finished batch is kept: killed at any moment, the same command goes on, and ends in the same store.
    """
    check_json_target(json_target)
    with status_line("Starting JAX") as status:
        from landed_jax.loading import load
        from landed_jax.report.study_report import study_document, study_report
        from landed_jax.studies import study as run_study
        from landed_jax.studies.keeps import keep_named

        names = [name.strip() for name in keep.split(",") if name.strip()]
        if not names:
            raise LandedError("--keep names nothing: give scale or attribution, for example.")
        for name in names:
            keep_named(name)  # before the weights are read
        status("Reading weights")
        opened = load(model, progress=status.report)
        status("Compiling the first batch, or reading it from the cache")
        found = run_study(
            opened,
            prompts,
            names,
            out,
            column=column,
            ids=ids,
            count=count,
            seed=seed,
            position=position,
            add_special_tokens=not no_bos,
            watch=_watched(status),
            command=_command(),
        )
    _show(found, json_target, lambda: study_document(found), lambda: study_report(found))


@click.command()
@click.argument("stores", nargs=-1, required=True)
@click.option("--out", metavar="STORE", required=True, help="A new folder for the study of all their prompts.")
@json_option
def merge(stores: tuple[str, ...], out: str, json_target: str | None) -> None:
    """Merge finished studies of the same model and settings, of different prompts: of several machines, for example."""
    check_json_target(json_target)
    with status_line("Starting JAX"):
        from landed_jax.report.study_report import study_document, study_report
        from landed_jax.studies import merge as merge_studies

        found = merge_studies(stores, out)
    _show(found, json_target, lambda: study_document(found), lambda: study_report(found))


@click.command()
@click.argument("store")
@click.option("--model", metavar="M", help="Where the model is now. Default: where the study found it.")
@json_option
def rerun(store: str, model: str | None, json_target: str | None) -> int:
    """Run the study in STORE again, and compare number by number.

    Prints what differs and by how much, and whether that is within the study's own error bars (its closure errors, and
    float rounding); exits with 1 if something is beyond them.
    """
    check_json_target(json_target)
    with status_line("Starting JAX") as status:
        from landed_jax.loading import load
        from landed_jax.report.study_report import rerun_document, rerun_report
        from landed_jax.studies import rerun as rerun_study

        status("Running it again")
        found = rerun_study(store, lambda name: load(model or name, progress=status.report), watch=_watched(status))
    _show(found.before, json_target, lambda: rerun_document(found), lambda: rerun_report(found))
    return 0 if found.same else 1


def _show(found: "Study", json_target: str | None, document: Callable, report: Callable) -> None:
    from landed_jax.files.json_text import json_text
    from landed_jax.report.console import print_report

    if json_target is not None:
        write_text(json_text(document(), encoding_of(json_target)), json_target)
    if json_target != "-":
        print_report(report())


def _watched(status: Status) -> Callable[[int, int | None], None]:
    """Prompts a second and the time left, once there has been a batch: the first one compiles."""
    began: list[tuple[float, int]] = []

    def watch(done: int, total: int | None) -> None:
        if not began:
            began.append((time.monotonic(), done))
            status("Prompts")
        start, first = began[0]
        passed = time.monotonic() - start
        rate = (done - first) / passed if passed > 0 and done > first else 0.0
        note = f"{done:,}"
        if rate:
            note += f", {rate:,.0f} a second"
            if total:
                note += f", {_time(max(total - done, 0) / rate)} left"
        status.report(done, total or 0, note)

    return watch


def _time(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any.

    >>> _time(59.6), _time(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _command() -> str:
    return shlex.join(["landed", *sys.argv[1:]])
