"""`landed rerun`: a stored result made again, beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from landed_jax.cli.options import json_option
from landed_jax.cli.output import check_json_target, show_result
from landed_jax.cli.progress import Status, status_line
from landed_jax.cli.prompts import several
from landed_jax.cli.reading import adapter_option, dtype_option, ignore_field_option
from landed_jax.cli.study_progress import watched
from landed_jax.errors import LandedError

if TYPE_CHECKING:
    from landed_jax.model import Model
    from landed_jax.reruns import Rerun

EXAMPLES = """\b
Examples:
  landed rerun induction
  landed rerun claims.json --model ./llama
"""


@click.command(epilog=EXAMPLES)
@click.argument("result")
@click.option("--model", metavar="M", help="Where the model is now. Default: where the result found it.")
@adapter_option
@dtype_option
@ignore_field_option
@json_option
def rerun(
    result: str,
    model: str | None,
    adapter: str | None,
    dtype: str | None,
    ignore_fields: tuple[str, ...],
    json_target: str | None,
) -> int:
    """Make RESULT again, and compare number by number.

    RESULT is the folder of a study (of a series one checkpoint's), or what `landed reproduce --json` wrote. Options
    with which the weights were read are given again.

    Prints what differs and by how much, what made the two otherwise, and whether numbers are within the result's own
    error bars (a study's closure errors, and float rounding). Exits with 1 if one is beyond them, or if weights or
    prompts are others.
    """
    check_json_target(json_target)
    with status_line("Starting JAX") as status:
        from landed_jax.loading import load
        from landed_jax.report.rerun import rerun_document, rerun_report

        def loaded(name: str) -> "Model":
            return load(
                model or name, progress=status.report, adapter=adapter, dtype=dtype, ignore_fields=ignore_fields
            )

        status("Running it again")
        found = (_claims if Path(result).is_file() else _study)(result, loaded, status)
    show_result(json_target, lambda: rerun_document(found), lambda: rerun_report(found))
    return 0 if found.same else 1


def _study(folder: str, load: Callable[[str], "Model"], status: Status) -> "Rerun":
    from landed_jax.studies import rerun

    return rerun(folder, load, watch=watched(status))


def _claims(file: str, load: Callable[[str], "Model"], status: Status) -> "Rerun":
    from landed_jax.claims import prompts_file, rerun
    from landed_jax.files.json_object import read_json_object

    document = read_json_object(Path(file))
    source = prompts_file(document)
    if source is not None and not Path(source).is_file():
        raise LandedError(f"The prompts of {file} are not here: they were in {source}, as seen from where it was made.")
    prompts = None if source is None else [str(one.prompt) for one in several(source, ids=False)]
    return rerun(document, load(document["manifest"]["model"]["source"]), prompts, progress=status.report)
