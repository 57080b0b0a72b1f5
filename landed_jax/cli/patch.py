"""`landed patch`: every component in turn as in another prompt's run, and the model run again."""

from typing import Any

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
from landed_jax.errors import LandedError
from landed_jax.printable import printable

EXAMPLES = """\b
Examples:
  landed patch "The Colosseum is in the city of" "The Louvre is in the city of"
  landed patch CLEAN CORRUPTED --components heads --direction noise
  landed patch CLEAN CORRUPTED --model MODEL --target " Mary" --against " John" --out patches.nc
  landed patch CLEAN CORRUPTED --attribution --steps 8 --json - | jq '.cells[0]'
"""


@click.command(epilog=EXAMPLES)
@click.argument("clean")
@click.argument("corrupted")
@model_option
@ids_option("CLEAN and CORRUPTED are")
@no_bos_option
@token_options(
    "The token to read",
    "the likeliest after CLEAN",
    "Read the logit difference target − T2. Default, where no target is given: the likeliest after CORRUPTED.",
)
@position_option
@click.option(
    "--components",
    type=click.Choice(["positions", "heads"]),
    default="positions",
    show_default=True,
    help="What is patched: writes and stream at each layer and position, or each head at all positions.",
)
@click.option(
    "--direction",
    type=click.Choice(["denoise", "noise"]),
    default="denoise",
    show_default=True,
    help="denoise: clean values into the run of CORRUPTED; noise: corrupted values into the run of CLEAN.",
)
@click.option(
    "--measure",
    type=click.Choice(["recovered", "logit", "probability", "kl", "rank"]),
    default="recovered",
    show_default=True,
    help="The fraction of the logit (difference) recovered, or in noising lost; its change; that of the target's "
    "probability or rank; or of the KL divergence from the distribution after CLEAN.",
)
@click.option("--attribution", is_flag=True, help="Attribution patching: an estimate of all patches by one gradient.")
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(min=1),
    help="With --attribution: integrated gradients, in N steps between the two prompts' embeddings.",
)
@top_option("How many of the largest to list.", default=10)
@adapter_option
@dtype_option
@ignore_field_option
@out_option
@json_option
def patch(
    clean: str,
    corrupted: str,
    model: str,
    ids: bool,
    no_bos: bool,
    target: str | None,
    against: str | None,
    position: int,
    components: str,
    direction: str,
    measure: str,
    attribution: bool,
    steps: int | None,
    top: int,
    adapter: str | None,
    dtype: str | None,
    ignore_fields: tuple[str, ...],
    out: str | None,
    json_target: str | None,
) -> None:
    """Activation patching: each component as in another prompt's run, one at a time, and the model run again.

    CLEAN and CORRUPTED have as many tokens. One of them is read from standard input where it is -.
    """
    check_targets(json_target, out)
    check_one_reading(no_bos=no_bos, ids=ids)
    if clean == corrupted == "-":
        raise LandedError("Standard input holds one prompt: give the other as an argument.")
    if steps is not None and not attribution:
        raise LandedError("--steps goes with --attribution.")
    prompts = [single(argument, ids=ids).prompt for argument in (clean, corrupted)]
    with status_line("Starting JAX") as status:
        from landed_jax.loading import load
        from landed_jax.report.patching import Patch, patched, patching_document, patching_report
        from landed_jax.report.question import ask

        status("Reading weights")
        opened = load(model, progress=status.report, adapter=adapter, dtype=dtype, ignore_fields=ignore_fields)
        how: dict[str, Any] = {"add_special_tokens": not no_bos}
        about = ask(opened, prompts[0], target=target, against=against, position=position, **how)
        other = ask(opened, prompts[1], **how)
        wanted = Patch(about, other, measure, components, direction, attribution, steps)
        status("Following a gradient" if attribution else "Patching one component at a time")
        found = patched(opened, wanted, status.report)
    for name, asked in (("clean", about), ("corrupted", other)):
        for warning in asked.prompt.warnings:
            click.echo(f"landed: {name}: {printable(warning)}", err=True)
    document = patching_document(found, wanted, opened.source)
    if out is not None:
        found.save(out, derived=True)
    show_result(json_target, lambda: document, lambda: patching_report(found, wanted, document, top))
