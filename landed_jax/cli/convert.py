"""`landed convert`: an HF checkpoint into a native one."""

import click

from landed_jax.cli.progress import status_line
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
    from landed_jax.loading import convert as convert_model

    with status_line("Converting") as status:
        convert_model(src, dst, progress=status.report, adapter=adapter, ignore_fields=ignore_fields)
    click.echo(f"Wrote {printable(dst)}")
