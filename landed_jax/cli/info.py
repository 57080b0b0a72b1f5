"""`landed info`: a model's facts, from its config alone."""

import click

from landed_jax.checkpoints.bundle import BUNDLED

EXAMPLES = """\b
Examples:
  landed info ./llama-hf
  landed info mistralai/Mistral-7B-v0.3 --length 2048 --batch 4
"""


@click.command(epilog=EXAMPLES)
@click.argument("model", default=BUNDLED)
@click.option("--length", type=click.IntRange(min=1), default=128, show_default=True, help="Tokens a prompt.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Prompts.")
@click.option("--positions", type=click.IntRange(min=1), help="Positions that an attribution looks at; by default all.")
def info(model: str, length: int, batch: int, positions: int | None) -> None:
    """The facts of MODEL, its parameter count, and the memory of a trace and of an attribution. Reads no weights.

    Without MODEL, those of the model that comes with the package.
    """
    from landed_jax.model import read_config
    from landed_jax.report.console import print_report
    from landed_jax.report.facts import attribution_facts, model_facts, trace_facts
    from landed_jax.report.facts_table import facts_table
    from landed_jax.tables.quoted import Name

    config, weight_dtype = read_config(model)
    traced = trace_facts(config, batch=batch, length=length)
    streamed = attribution_facts(config, weight_dtype, batch=batch, length=length, positions=positions)
    print_report(
        [
            facts_table(Name(model), model_facts(config, weight_dtype)),
            facts_table(f"A trace of {batch} × {length} tokens, in memory", traced),
            facts_table("Its streamed attribution, beside the forward pass", streamed),
        ]
    )
