"""`landed heads`: which heads look at the previous token, at a duplicate, at what followed one, and which copy."""

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.output import check_json_target, encoding_of, write_text
from landed_jax.cli.progress import status_line
from landed_jax.cli.reading import adapter_option, dtype_option, ignore_field_option

EXAMPLES = """\b
Examples:
  landed heads
  landed heads --model MODEL --sort copying --json heads.json
  landed heads --sequences 100 --length 40 --out heads.nc
"""
_SCORES = ["induction", "previous_token", "duplicate_token", "copying", "suppression"]


@click.command(epilog=EXAMPLES)
@click.option("--model", metavar="M", default=BUNDLED, help="As for `landed run`.")
@click.option(
    "--sort", type=click.Choice(_SCORES), default=_SCORES[0], show_default=True, help="The score to order by."
)
@click.option("--sequences", type=click.IntRange(min=1), default=32, show_default=True, help="How many.")
@click.option("--length", type=click.IntRange(min=4), default=25, show_default=True, help="Tokens before they repeat.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random tokens.")
@click.option("--top", metavar="K", type=click.IntRange(min=0), default=20, show_default=True, help="How many to show.")
@adapter_option
@dtype_option
@ignore_field_option
@click.option("--out", metavar="FILE", help="Write the labelled scores (xarray) to a NetCDF file, FILE.nc.")
@click.option("--json", "json_target", metavar="FILE|-", help="Write JSON to a file, or alone to standard output.")
def heads(
    model: str,
    sort: str,
    sequences: int,
    length: int,
    seed: int,
    top: int,
    adapter: str | None,
    dtype: str | None,
    ignore_fields: tuple[str, ...],
    out: str | None,
    json_target: str | None,
) -> None:
    """Score every head on random sequences that are repeated once: induction, previous token, copying and others."""
    check_json_target(json_target)
    if out is not None:
        from landed_jax.results.files import check_result_path

        check_result_path(out)
    with status_line("Starting JAX") as status:
        from landed_jax.files.json_text import json_text
        from landed_jax.loading import load
        from landed_jax.report.console import print_report
        from landed_jax.report.heads import heads_document, heads_report
        from landed_jax.roles import head_scores

        status("Reading weights")
        opened = load(model, progress=status.report, adapter=adapter, dtype=dtype, ignore_fields=ignore_fields)
        status("Scoring heads")
        found = head_scores(opened, sequences=sequences, length=length, seed=seed, progress=status.report)
    if out is not None:
        found.save(out)
    if json_target is not None:
        document = heads_document(found, opened.source, seed)
        write_text(json_text(document, encoding_of(json_target), indent=2), json_target)
    if json_target != "-":
        print_report(heads_report(found, opened.source, sort, top))
