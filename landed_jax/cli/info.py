"""`landed info`: a model's facts, from its config alone, or why it cannot be opened."""

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.reading import adapter_option, ignore_field_option

EXAMPLES = """\b
Examples:
  landed info ./llama-hf
  landed info mistralai/Mistral-7B-v0.3 --length 2048 --batch 4
  landed info model.Q4_K_M.gguf
  landed info ./llama-hf --sweep heads --length 64
  landed info ./llama-hf --why
"""


@click.command(epilog=EXAMPLES)
@click.argument("model", default=BUNDLED)
@click.option("--length", type=click.IntRange(min=1), default=128, show_default=True, help="Tokens a prompt.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Prompts.")
@click.option("--positions", type=click.IntRange(min=1), help="Positions that an attribution looks at; by default all.")
@click.option(
    "--sweep",
    type=click.Choice(["heads", "parts", "positions"]),
    help="Also: what a sweep costs, over heads, whole writes, or layers and positions.",
)
@click.option("--why", is_flag=True, help="List everything that keeps MODEL from being opened. Reads all weights.")
@adapter_option
@ignore_field_option
def info(
    model: str,
    length: int,
    batch: int,
    positions: int | None,
    sweep: str | None,
    why: bool,
    adapter: str | None,
    ignore_fields: tuple[str, ...],
) -> int:
    """The facts of MODEL, its switches, its parameter count, and the memory of a trace and of an attribution.

    Reads no weights and needs no device. Without MODEL, those of the model that comes with the package.
    """
    if why:
        return _list_reasons(model, adapter, ignore_fields)
    from landed_jax.loading import read_config
    from landed_jax.report.console import print_report
    from landed_jax.report.facts import attribution_facts, model_facts, sweep_facts, trace_facts
    from landed_jax.report.facts_table import facts_table
    from landed_jax.report.switches import switch_facts
    from landed_jax.tables.quoted import Name

    config, weight_dtype = read_config(model, ignore_fields=ignore_fields)
    traced = trace_facts(config, batch=batch, length=length)
    streamed = attribution_facts(config, weight_dtype, batch=batch, length=length, positions=positions)
    tables = [
        facts_table(Name(model), model_facts(config, weight_dtype)),
        facts_table("Its switches", switch_facts(config)),
        facts_table(f"A trace of {batch} × {length} tokens, in memory", traced),
        facts_table("Its streamed attribution, beside the forward pass", streamed),
    ]
    if sweep is not None:
        swept = sweep_facts(config, weight_dtype, over=sweep, batch=batch, length=length)
        tables.append(facts_table(f"A sweep over {sweep}, {batch} × {length} tokens", swept))
    print_report(tables)
    return 0


def _list_reasons(model: str, adapter: str | None, ignore_fields: tuple[str, ...]) -> int:
    """Print every reason for which the model is refused, one a line. The status is 1 where there is one."""
    from landed_jax.errors import LandedError, Refusal
    from landed_jax.loading import check
    from landed_jax.printable import printable

    try:
        without_text = check(model, ignore_fields=ignore_fields, adapter=adapter)
    except Refusal as error:
        for problem in error.problems:
            click.echo(printable(problem))
        return 1
    except LandedError as error:
        click.echo(str(error))
        return 1
    click.echo("Nothing keeps this model from being opened.")
    if without_text:
        click.echo(f"It takes token ids only, and no text: {without_text}")
    return 0
