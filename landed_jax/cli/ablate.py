"""`landed ablate`: every component removed, one at a time, and the model run again."""

import click

from landed_jax.cli.options import (
    check_one_reading,
    check_targets,
    ids_option,
    json_option,
    model_option,
    no_bos_option,
    out_option,
    position_option,
    token_options,
    top_option,
)
from landed_jax.cli.output import show_result
from landed_jax.cli.progress import status_line
from landed_jax.cli.prompts import single
from landed_jax.cli.reading import adapter_option, dtype_option, ignore_field_option
from landed_jax.printable import printable

EXAMPLES = """\b
Examples:
  landed ablate "The Colosseum is in the city of"
  landed ablate "The keys near the bottle" --target " are" --against " is" --components parts
  landed ablate "The Colosseum is in the city of" --model MODEL --out effects.nc
"""


@click.command(epilog=EXAMPLES)
@click.argument("prompt", required=False)
@model_option
@ids_option()
@no_bos_option
@token_options("The token to read", "the likeliest", "Read the logit difference target − T2 instead.")
@position_option
@click.option(
    "--components",
    type=click.Choice(["heads", "parts"]),
    default="heads",
    show_default=True,
    help="What is removed: each head, or each layer's attention and MLP.",
)
@top_option("How many to show.")
@adapter_option
@dtype_option
@ignore_field_option
@out_option
@json_option
def ablate(
    prompt: str | None,
    model: str,
    ids: bool,
    no_bos: bool,
    target: str | None,
    against: str | None,
    position: int,
    components: str,
    top: int,
    adapter: str | None,
    dtype: str | None,
    ignore_fields: tuple[str, ...],
    out: str | None,
    json_target: str | None,
) -> None:
    """Remove each head, one at a time, and run the model again: total, direct and indirect effects on one logit.

    `landed info --sweep heads` says before what it costs. PROMPT is read from standard input where it is -.
    """
    check_targets(json_target, out)
    check_one_reading(no_bos=no_bos, ids=ids)
    wanted = single(prompt, ids=ids)
    with status_line("Starting JAX") as status:
        from landed_jax.loading import load
        from landed_jax.report.ablation import ablate as effects_of
        from landed_jax.report.ablation import ablation_document, ablation_report
        from landed_jax.report.question import ask

        status("Reading weights")
        opened = load(model, progress=status.report, adapter=adapter, dtype=dtype, ignore_fields=ignore_fields)
        how = {"target": target, "against": against, "position": position, "add_special_tokens": not no_bos}
        asked = ask(opened, wanted.prompt, **how)
        status("Removing one component at a time")
        found = effects_of(opened, asked, components, status.report)
    for warning in asked.prompt.warnings:
        click.echo(f"landed: {printable(warning)}", err=True)
    document = ablation_document(found, asked, opened.source)
    if out is not None:
        found.save(out, derived=True)
    show_result(json_target, lambda: document, lambda: ablation_report(document, top))
