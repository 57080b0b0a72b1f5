"""`landed run`: one prompt's account."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.output import check_json_target, write_json
from landed_jax.cli.progress import status_line
from landed_jax.errors import LandedError
from landed_jax.printable import printable
from landed_jax.report.sections import sections

EXAMPLES = """\b
Examples:
  landed run "The Colosseum is in the city of"
  landed run "The keys near the bottle" --target " are" --against " is" --by-source --lens
  landed run "The Colosseum is in the city of" --effects --coordinates --out rome.nc
  landed run "Tom and Ann went home. Tom gave it to" --model MODEL --json - | jq .closure_error
"""


def _section_options(command: Callable[..., None]) -> Callable[..., None]:
    """A switch for each section, under its name."""
    for section in reversed(sections()):  # click lists the options of decorators from the last applied to the first
        command = click.option(section.option, section.name, is_flag=True, help=section.help)(command)
    return command


@click.command(epilog=EXAMPLES)
@click.argument("prompt", required=False)
@click.option(
    "--model",
    metavar="M",
    default=BUNDLED,
    help="An HF folder, an HF id, or a folder made by `landed convert`. Default: the small model of this package.",
)
@click.option("--target", metavar="T", help="The token to account for: exact text, or #ID. Default: the likeliest.")
@click.option("--against", metavar="T2", help="Account for the logit difference target − T2 instead.")
@click.option("--position", metavar="N", type=int, default=-1, help="The position to read. Default: the last.")
@click.option("--top", metavar="K", type=click.IntRange(min=0), default=20, show_default=True, help="How many writes.")
@_section_options
@click.option("--out", metavar="FILE", help="Write the labelled results (xarray) to a NetCDF file, FILE.nc.")
@click.option("--json", "json_target", metavar="FILE|-", help="Write JSON to a file, or alone to standard output.")
def run(
    prompt: str | None,
    model: str,
    target: str | None,
    against: str | None,
    position: int,
    top: int,
    out: str | None,
    json_target: str | None,
    **chosen: bool,
) -> None:
    """Account for one logit: how much of it each head and neuron wrote, as the model hears it.

    PROMPT is read from standard input where it is not given and something is piped in.
    """
    check_json_target(json_target)
    text = _piped_prompt() if prompt is None else prompt

    if out is not None:
        from landed_jax.results.files import check_result_path

        check_result_path(out)
        if json_target is not None and Path(json_target).resolve() == Path(out).resolve():
            raise LandedError("--json and --out name the same file: give each its own.")

    wanted = [section for section in sections() if chosen[section.name]]
    with status_line("Starting JAX") as status:
        from landed_jax.model import load
        from landed_jax.report.account import account_for
        from landed_jax.report.console import print_report
        from landed_jax.report.run_report import whole_report

        status("Reading weights")
        opened = load(model, progress=status.report)
        # Programs are compiled for a few lengths only, and kept: the next prompt of about this length finds them.
        account = account_for(
            opened,
            text,
            target=target,
            against=against,
            position=position,
            top=top,
            sections=wanted,
            bucketed=True,
            stage=status,
        )
    for warning in account.warnings:
        click.echo(f"landed: {printable(warning)}", err=True)
    if out is not None:
        account.save(out)
    if json_target is not None:
        write_json(account.to_dict(), json_target)
    if json_target != "-":
        print_report(whole_report(account))


def _piped_prompt() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise LandedError('Give a prompt: landed run "The Colosseum is in the city of".')
    return sys.stdin.read().rstrip("\n")
