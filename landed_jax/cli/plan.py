"""`landed plan`: what a call takes on a slice of TPUs or on GPUs, from a model's config alone."""

import os
from typing import Any

import click

from landed_jax.cli.options import json_option
from landed_jax.cli.output import check_json_target, show_result
from landed_jax.cli.reading import ignore_field_option

EXAMPLES = """\b
Examples:
  landed plan meta-llama/Llama-3.1-8B --topology v5e:4x4 --length 2048 --batch 8
  landed plan ./llama-hf --topology h100:8 --batch 64 --prompts 1000000
  landed plan ./llama-hf --topology v5p:2x2x2 --mesh data=2,model=4 --what effects
  landed plan ./llama-hf --topology v5e:2x4 --length 512 --compile
"""


@click.command(epilog=EXAMPLES)
@click.argument("model")
@click.option(
    "--topology",
    metavar="CHIP:N",
    required=True,
    help="The chips: v4:2x2x4, v5e:4x4, v5p:2x2x2, v6e:4x4, h100:8, h200:8, a100-80gb:8, a100-40gb:8, in any number.",
)
@click.option("--length", type=click.IntRange(min=1), default=2048, show_default=True, help="Tokens a prompt.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Prompts at a time.")
@click.option(
    "--mesh",
    "mesh_text",
    metavar="data=N,model=N",
    help="Spread prompts over N chips, and heads, neurons and vocabulary over N. Default: the fastest that fits.",
)
@click.option(
    "--what",
    type=click.Choice(["forward", "last", "all", "effects", "top"]),
    default="top",
    show_default=True,
    help="Logits of all positions; all writes at the last position with direct effects; landed contributions of all "
    "writes at all positions; these with direct effects; or the 1,000 largest of them.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the weights. Default: the config's, or bfloat16 where it names none.",
)
@click.option(
    "--precision",
    type=click.Choice(["highest", "default"]),
    default="highest",
    show_default=True,
    help="Of products, JAX's. The package computes in the highest unless jax.default_matmul_precision says otherwise.",
)
@click.option(
    "--fraction",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=0.4,
    show_default=True,
    help="The part of the published rates that the expected time assumes.",
)
@click.option("--prompts", type=click.IntRange(min=1), metavar="N", help="Also the time of so many prompts.")
@click.option(
    "--compile",
    "compiles",
    is_flag=True,
    help="Also compile the program for this slice, and say what it takes. Needs libtpu and minutes, and no TPU.",
)
@ignore_field_option
@json_option
def plan(
    model: str,
    topology: str,
    length: int,
    batch: int,
    mesh_text: str | None,
    what: Any,
    dtype: str | None,
    precision: Any,
    fraction: float,
    prompts: int | None,
    compiles: bool,
    ignore_fields: tuple[str, ...],
    json_target: str | None,
) -> None:
    """Whether an attribution of MODEL fits on a slice of chips, how long it takes, and on which mesh.

    Of MODEL only config.json is read or downloaded; no device is needed. Times come from counts of operations and bytes
    and from the vendors' published figures.
    """
    check_json_target(json_target)
    from landed_jax.planning._topology import topology_of

    chips = topology_of(topology)
    if compiles:
        from landed_jax.planning._libtpu import use_libtpu

        use_libtpu(chips, os.environ)  # before JAX is imported
    from landed_jax.loading import read_config
    from landed_jax.mesh import mesh_sizes
    from landed_jax.planning import plan as plan_of
    from landed_jax.report.plan import plan_blocks, plan_document

    mesh = None if mesh_text is None else mesh_sizes(mesh_text)
    config, weights = read_config(model, ignore_fields=ignore_fields)
    found = plan_of(
        config,
        chips,
        length=length,
        batch=batch,
        what=what,
        mesh=mesh,
        dtype=dtype or weights or "bfloat16",
        precision=precision,
        fraction=fraction,
        prompts=prompts,
    )
    verdict = None
    if compiles:
        from landed_jax.planning._compiled_plan import compile_plan

        verdict = compile_plan(found)
    document = plan_document(found, model, verdict)
    show_result(json_target, lambda: document, lambda: plan_blocks(document))
