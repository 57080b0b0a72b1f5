"""`landed models`: the families that can be opened."""

import click


@click.command()
def models() -> None:
    """List the model families that can be opened, the switches in which they differ from Llama, and how near each came
    to its references when it was last measured.
    """
    from landed_jax.report.console import print_report
    from landed_jax.report.families_table import families_table

    print_report([families_table()])
