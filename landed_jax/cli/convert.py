"""`landed convert`: an HF checkpoint or a GGUF file into a native checkpoint, or an HF one."""

import click

from landed_jax.cli.hosts import several_hosts
from landed_jax.cli.progress import status_line
from landed_jax.cli.reading import adapter_option, dtype_option, ignore_field_option
from landed_jax.printable import printable

EXAMPLES = """\b
Examples:
  landed convert ./llama-hf ./llama-native
  landed convert mistralai/Mistral-7B-v0.3 ./mistral
  landed convert model.Q4_K_M.gguf ./model-hf --hf --dtype bfloat16
"""


@click.command(epilog=EXAMPLES)
@click.argument("src")
@click.argument("dst", type=click.Path())
@click.option("--hf", is_flag=True, help="Write an HF folder: safetensors, which other programs read.")
@adapter_option
@dtype_option
@ignore_field_option
@several_hosts
def convert(
    src: str, dst: str, hf: bool, adapter: str | None, dtype: str | None, ignore_fields: tuple[str, ...]
) -> None:
    """Write SRC (an HF folder or id, or a GGUF file) as a native checkpoint: Orbax, with config and tokenizer beside.

    DST must not exist yet. An interrupted conversion leaves nothing that loads, and the same command goes
    on where it stopped.
    """
    from landed_jax.loading import convert as convert_model

    with status_line("Converting") as status:
        how = {"adapter": adapter, "dtype": dtype, "ignore_fields": ignore_fields, "hf": hf}
        convert_model(src, dst, progress=status.report, **how)
    click.echo(f"Wrote {printable(dst)}")
