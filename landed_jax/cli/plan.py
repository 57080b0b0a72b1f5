"""`landed plan`: what a call takes on a slice of TPUs or on GPUs, from a model's config alone."""

import click

from landed_jax.cli.options import json_option
from landed_jax.cli.output import check_json_target, show_result
from landed_jax.cli.reading import ignore_field_option

EXAMPLES = """\b
Examples:
  landed plan meta-llama/Llama-3.1-8B --topology v5e:4x4 --length 2048 --batch 8
  landed plan ./llama-hf --topology h100:8 --batch 64 --prompts 1000000
  landed plan ./llama-hf --topology v5p:2x2x2 --mesh data=2,model=4 --what effects
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
@ignore_field_option
@json_option
def plan(
    model: str,
    topology: str,
    length: int,
    batch: int,
    mesh_text: str | None,
    what: str,
    dtype: str | None,
    precision: str,
    fraction: float,
    prompts: int | None,
    ignore_fields: tuple[str, ...],
    json_target: str | None,
) -> None:
    """Whether an attribution of MODEL fits on a slice of chips, how long it takes, and on which mesh.

    Of MODEL only config.json is read or downloaded; no device is needed. Times come from counts of operations and bytes
    and from the vendors' published figures.
    """
    check_json_target(json_target)
    from landed_jax.loading import read_config
    from landed_jax.mesh import mesh_sizes
    from landed_jax.planning import plan as plan_of
    from landed_jax.planning import topology_of
    from landed_jax.report.plan import plan_blocks, plan_document

    chips, mesh = topology_of(topology), None if mesh_text is None else mesh_sizes(mesh_text)
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
    document = plan_document(found, model)
    show_result(json_target, lambda: document, lambda: plan_blocks(document))
