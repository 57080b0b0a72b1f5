"""`landed reproduce`: public claims about landed writes, measured on a model."""

import click

from landed_jax.cli.options import json_option, model_option
from landed_jax.cli.output import check_json_target, command_line, show_result
from landed_jax.cli.progress import status_line
from landed_jax.cli.prompts import several
from landed_jax.cli.reading import adapter_option, dtype_option, ignore_field_option
from landed_jax.errors import LandedError

EXAMPLES = """\b
Examples:
  landed reproduce
  landed reproduce --model MODEL --claim "amplified writes"
  landed reproduce --model MODEL --prompts prompts.txt --json claims.json
"""


@click.command(epilog=EXAMPLES)
@model_option
@click.option("--claim", "names", metavar="NAME", multiple=True, help="One claim alone; may be given several times.")
@click.option(
    "--prompts", "path", metavar="FILE|-", help="One prompt a line, or JSON lines. Default: the package's own."
)
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(min=2),
    default=200,
    show_default=True,
    help="Prompts of its own.",
)
@click.option("--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@adapter_option
@dtype_option
@ignore_field_option
@json_option
def reproduce(
    model: str,
    names: tuple[str, ...],
    path: str | None,
    count: int,
    seed: int,
    adapter: str | None,
    dtype: str | None,
    ignore_fields: tuple[str, ...],
    json_target: str | None,
) -> None:
    """Measure the public claims about landed writes on a model: value, interval and verdict under each reading."""
    check_json_target(json_target)
    asked = None if path is None else several(path, ids=False)
    with status_line("Starting JAX") as status:
        from landed_jax.claims import claims, reproduce
        from landed_jax.claims._reproduce import STANDARD_INPUT
        from landed_jax.loading import load
        from landed_jax.report.claims import claims_document, claims_report

        for name in names:
            if name not in claims():
                raise LandedError(f"There is no claim {name!r}: these are {', '.join(claims())}.")
        status("Reading weights")
        opened = load(model, progress=status.report, adapter=adapter, dtype=dtype, ignore_fields=ignore_fields)
        status("Measuring")
        prompts = None if asked is None else [str(one.prompt) for one in asked]
        found = reproduce(
            opened,
            prompts,
            claims=names or None,
            count=count,
            seed=seed,
            progress=status.report,
            source=STANDARD_INPUT if path == "-" else path or "",
            command=command_line(),
        )
    show_result(json_target, lambda: claims_document(found), lambda: claims_report(found))
