"""`landed heads`: which heads look at the previous token, at a duplicate, at what followed one, and which copy."""

import click

from landed_jax.cli.options import check_targets, json_option, model_option, out_option, top_option
from landed_jax.cli.output import show_result
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
@model_option
@click.option(
    "--sort", type=click.Choice(_SCORES), default=_SCORES[0], show_default=True, help="The score to order by."
)
@click.option("--sequences", metavar="N", type=click.IntRange(min=1), default=32, show_default=True, help="How many.")
@click.option(
    "--length",
    metavar="N",
    type=click.IntRange(min=4),
    default=25,
    show_default=True,
    help="Of each half.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the tokens."
)
@top_option("How many to show.")
@adapter_option
@dtype_option
@ignore_field_option
@out_option
@json_option
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
    check_targets(json_target, out)
    with status_line("Starting JAX") as status:
        from landed_jax.loading import load
        from landed_jax.report.heads import heads_document, heads_report
        from landed_jax.roles import head_scores

        status("Reading weights")
        opened = load(model, progress=status.report, adapter=adapter, dtype=dtype, ignore_fields=ignore_fields)
        status("Scoring heads")
        found = head_scores(opened, sequences=sequences, length=length, seed=seed, progress=status.report)
    if out is not None:
        found.save(out)
    show_result(
        json_target,
        lambda: heads_document(found, opened.source, seed),
        lambda: heads_report(found, opened.source, sort, top),
    )
