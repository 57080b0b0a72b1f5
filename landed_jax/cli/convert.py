"""`landed convert`: an HF checkpoint into a native one."""

import click

from landed_jax.cli.progress import progress_bar
from landed_jax.cli.reading import adapter_option, ignore_field_option
from landed_jax.printable import printable

EXAMPLES = """\b
Examples:
  landed convert ./llama-hf ./llama-native
  landed convert mistralai/Mistral-7B-v0.3 ./mistral
"""


@click.command(epilog=EXAMPLES)
@click.argument("src")
@click.argument("dst", type=click.Path())
@adapter_option
@ignore_field_option
def convert(src: str, dst: str, adapter: str | None, ignore_fields: tuple[str, ...]) -> None:
    """Write SRC (an HF folder or id) as a native checkpoint: Orbax, with the config and the tokenizer beside it.

    DST must not exist yet. An interrupted conversion leaves nothing that loads; run it again.
    """
    from landed_jax.model import convert as convert_model

    with progress_bar("Converting") as report:
        convert_model(src, dst, progress=report, adapter=adapter, ignore_fields=ignore_fields)
    click.echo(f"Wrote {printable(dst)}")
