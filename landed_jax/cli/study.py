"""`landed study`, `landed merge`."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.hosts import several_hosts
from landed_jax.cli.options import json_option
from landed_jax.cli.output import check_json_target, command_line, show_result
from landed_jax.cli.progress import Status, status_line
from landed_jax.cli.reading import mesh_option, stream_option
from landed_jax.cli.study_progress import watched
from landed_jax.errors import LandedError
from landed_jax.files.kinds import expanded, status_of

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from landed_jax.studies import Series, Study

EXAMPLES = """\b
Examples:
  landed study testbed:induction --out induction
  landed study prompts.jsonl --model ./llama --keep scale,attribution,effects --out llama-study
  landed study table.csv --column text --out study
  landed study testbed:induction --checkpoints my-model/steps --out training
  landed study prompts.txt --model EleutherAI/pythia-70m --revisions step1,step512,step143000 --out pythia
"""


@click.command(epilog=EXAMPLES)
@click.argument("prompts")
@click.option("--model", metavar="M", help="A folder or Hugging Face id. Default: the bundled model.")
@click.option(
    "--checkpoints", metavar="C,C,…|FOLDER", help="Several models of one training, or the folder they are in."
)
@click.option("--revisions", metavar="R,R,…", help="Several revisions of the Hugging Face id that --model names.")
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
@stream_option
@mesh_option
@json_option
@several_hosts
def study(
    prompts: str,
    model: str | None,
    checkpoints: str | None,
    revisions: str | None,
    keep: str,
    out: str | None,
    column: str | None,
    count: int,
    seed: int,
    position: int,
    ids: bool,
    no_bos: bool,
    stream: bool,
    mesh: str | None,
    json_target: str | None,
) -> None:
    """Statistics over thousands of prompts.

    PROMPTS is a file (a prompt a line, .jsonl, .csv, .parquet), - for standard input, task:NAME or testbed:NAME for a
    task with answers, or hf:NAME[:SPLIT] for a data set of Hugging Face.

    --keep names any of scale, stability, attribution, effects, sources, sigma_gap, sigma_shares, coordinates,
    lens and top, separated by commas.

    With --out every finished batch is kept: killed at any moment, the same command goes on, and ends in the same store.

    --checkpoints and --revisions make one study for each checkpoint, each in a folder of its own in STORE.

    With --hosts each process computes its share of the batches, and the first one writes STORE. A --mesh of as many
    devices as a process has is each process's own; one of all devices is all processes' together.
    """
    check_json_target(json_target)
    several = _checkpoints(model, checkpoints, revisions)
    with status_line("Starting JAX") as status:
        from landed_jax.studies.keeps import keep_named

        names = [name.strip() for name in keep.split(",") if name.strip()]
        if not names:
            raise LandedError("--keep names nothing: give scale or attribution, for example.")
        for name in names:
            keep_named(name)  # before the weights are read
        settings: dict[str, Any] = {
            "column": column,
            "ids": ids,
            "count": count,
            "seed": seed,
            "position": position,
            "add_special_tokens": not no_bos,
            "command": command_line(),
        }
        load_with = {"mesh": None if mesh is None else _mesh(mesh), "progress": status.report, "stream": stream}
        found = (
            _study(status, model or BUNDLED, prompts, names, out, load_with, settings)
            if several is None
            else _series(status, several, prompts, names, out, load_with, settings)
        )
    _show_found(found, json_target)


def _checkpoints(model: str | None, checkpoints: str | None, revisions: str | None) -> str | list[str] | None:
    """The models that are meant: a folder that they are in, or each; None for one model."""
    if checkpoints is None and revisions is None:
        return None
    if revisions is None:
        if model is not None:
            raise LandedError("--checkpoints name the models: leave --model out.")
        parts = _parts(checkpoints or "")
        return parts[0] if len(parts) == 1 else parts
    if checkpoints is not None or model is None:
        raise LandedError("--revisions are of the model that --model names, and --checkpoints are other models.")
    if model == BUNDLED or "@" in model or status_of(expanded(model)) is not None:
        raise LandedError(f"--revisions are of a Hugging Face id without one, which {model!r} is not.")
    return [f"{model}@{revision}" for revision in _parts(revisions)]


def _mesh(text: str) -> "Mesh":
    """A mesh of this process's devices, or of all processes' where it has as many."""
    import jax

    from landed_jax.mesh import mesh_of, mesh_sizes

    own = jax.local_devices()
    return mesh_of(text, own if math.prod(mesh_sizes(text).values()) <= len(own) else None)


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise LandedError(f"{text!r} lacks a name before or behind a comma.")
    return parts


def _study(
    status: Status, model: str, prompts: str, keep: list[str], out: str | None, load_with: Any, settings: Any
) -> "Study":
    from landed_jax.loading import load
    from landed_jax.studies import study as run_study

    status("Reading weights")
    opened = load(model, **load_with)
    status("Compiling the first batch, or reading it from the cache")
    return run_study(opened, prompts, keep, out, watch=watched(status), **settings)


def _series(
    status: Status,
    models: str | list[str],
    prompts: str,
    keep: list[str],
    out: str | None,
    load_with: Any,
    settings: Any,
) -> "Series":
    from landed_jax.studies import series

    begun: dict[str, Callable[[int, int | None], None]] = {}

    def watch(name: str, done: int, total: int | None) -> None:
        if name not in begun:
            status(f"{name}: reading weights")
            begun[name] = watched(status, f"{name}: prompts")
        elif done:
            begun[name](done, total)

    status("Looking at the checkpoints")
    return series(models, prompts, keep, out, watch=watch, load_with=load_with, **settings)


@click.command()
@click.argument("stores", nargs=-1, required=True)
@click.option("--out", metavar="STORE", required=True, help="A new folder for the study of all their prompts.")
@json_option
def merge(stores: tuple[str, ...], out: str, json_target: str | None) -> None:
    """Merge finished studies of the same model and settings, of different prompts: of several machines, for example."""
    check_json_target(json_target)
    with status_line("Starting JAX"):
        from landed_jax.studies import merge as merge_studies

        found = merge_studies(stores, out)
    _show_found(found, json_target)


def _show_found(found: "Study | Series", json_target: str | None) -> None:
    from landed_jax.report.series_report import series_document, series_report
    from landed_jax.report.study_report import study_document, study_report
    from landed_jax.studies import Study

    if isinstance(found, Study):
        show_result(json_target, lambda: study_document(found), lambda: study_report(found))
    else:
        show_result(json_target, lambda: series_document(found), lambda: series_report(found))
