"""Options that say how a checkpoint is to be read, and warnings about how it was."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import click

from landed_jax.errors import LandedWarning
from landed_jax.printable import printable

ignore_field_option = click.option(
    "--ignore-field",
    "ignore_fields",
    metavar="NAME",
    multiple=True,
    help="Read config.json as if it had no field NAME, which this program does not know. May be given several times.",
)

adapter_option = click.option(
    "--adapter",
    metavar="A",
    help="Merge a LoRA adapter into the weights: a folder or an HF id. `none` leaves out one beside the weights.",
)

dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="What the quantised weights of a GGUF file become. Default: float32, and floats stay as they are.",
)

precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float64"]),
    help="Of the model's products; analyses stay in float32 or wider. Default: float32, or float64 under "
    "JAX_ENABLE_X64=1.",
)

stream_option = click.option(
    "--stream",
    is_flag=True,
    help="Leave the weights on disk, and read layer after layer: for a model larger than the memory.",
)

mesh_option = click.option(
    "--mesh",
    metavar="data=N,model=N",
    help="Spread prompts over N devices, and heads, neurons and vocabulary over N. Default: one device.",
)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each `LandedWarning` as one line on standard error.

    Other filters are left as commands set them: `warnings.catch_warnings` would take them back.
    """
    warnings.simplefilter("default", LandedWarning)
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **how: Any) -> None:
        if issubclass(category, LandedWarning):
            click.echo(f"landed: {printable(str(message))}", err=True)
        else:
            others(message, category, *where, **how)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = others
