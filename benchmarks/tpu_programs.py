"""Programs as compiled for slices of TPUs: ``python -m benchmarks.tpu_programs [--shape 8B] [--slice v5e:2x4] --page``.

In the environment of ``make tpu``; no TPU is needed, and nothing runs. Of each shape and slice: memory of a chip beside
the plan's, what chips send each other, and how long compiling took, all beside the forward pass. Then, of programs of
one and of two layers, the operations of a layer. The tables stand in ``docs/tpu_programs.md``.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import markdown
from landed_jax.loading import read_config
from landed_jax.memory.shortage import human_bytes
from landed_jax.nn.config import ModelConfig
from landed_jax.planning._compiled import Compiled, arguments, compile_for, program, tpu_mesh
from landed_jax.planning._compiled_plan import compile_plan
from landed_jax.planning._libtpu import use_libtpu
from landed_jax.planning._plan import Plan, plan
from landed_jax.planning._task import Task, What
from landed_jax.planning._topology import topology_of

LENGTH = 512
SLICES = {"v5e:2x4": ((1, 8),), "v5e:4x8": ((4, 8), (2, 16)), "v5p:2x2x4": ((2, 8),)}
CALLS: tuple[What, ...] = ("forward", "all", "effects", "top")
PAGE = "tpu_programs.md"


def shapes() -> dict[str, ModelConfig]:
    """Published shapes of Llama 3."""
    large, largest = (read_config(f"conversion/shapes/llama-3.1-{size}")[0] for size in ("8b", "70b"))
    small = dataclasses.replace(large, d_model=2048, n_layers=16, head_dim=64, d_ff=8192, tie_embeddings=True)
    return {"1B": small, "8B": large, "70B": largest}


def sections(shape: str, config: ModelConfig, name: str, length: int) -> Iterator[str]:
    """A table of the calls of one shape on one slice."""
    meshes = SLICES[name]
    data, model = meshes[-1] if shape == "70B" else meshes[0]
    of = partial(plan, config, name, length=length, batch=data, mesh={"data": data, "model": model})
    rows, forward = [], None
    for what in CALLS:
        planned = of(what=what)
        verdict = compile_plan(planned)
        if verdict.compiled is None:
            rows.append([what, "more than a chip has", *[""] * 6])
            continue
        forward = forward or verdict.compiled
        rows.append(_row(what, planned, verdict.compiled, forward))
    yield f"### {shape} on {name}, mesh data={data},model={model}, {data} × {length:,} tokens"
    yield markdown.markdown(
        [
            "call",
            "passes",
            "weights a chip",
            "all memory a chip",
            "÷ plan",
            "in the layers' loop",
            "outside",
            "compile time ÷ forward's",
        ],
        rows,
    )


def _row(what: str, planned: Plan, compiled: Compiled, forward: Compiled) -> list[str]:
    inside = [one for one in compiled.collectives if one.in_loop and not one.in_branch]
    outside = [one for one in compiled.collectives if not one.in_loop and not one.in_branch]
    return [
        what,
        str(planned.layout.passes or ""),
        human_bytes(compiled.arguments),
        human_bytes(compiled.bytes),
        f"{compiled.bytes / planned.layout.memory.total:.2f}",
        _sent(inside),
        _sent(outside),
        f"{compiled.seconds / forward.seconds:.1f}",
    ]


def _sent(collectives: Sequence) -> str:
    kinds = {one.kind: [other.bytes for other in collectives if other.kind == one.kind] for one in collectives}
    return "; ".join(f"{len(sizes)} {kind}, {human_bytes(sum(sizes))}" for kind, sizes in kinds.items())


def operations(config: ModelConfig) -> list[list[str]]:
    """Of a layer in each call: the compiler's count on eight chips, and beside the forward pass's."""
    mesh, found = tpu_mesh("v5e:2x4", {"data": 1, "model": 8}), {}
    for what in CALLS[:3]:
        task, counts = Task(what, LENGTH, 1), []
        for layers in (1, 2):
            few = dataclasses.replace(config, n_layers=layers)
            given = arguments(few, task, mesh, stacked=False)
            counts.append(compile_for(program(few, task, 1), *given).flops)
        layer = counts[1] - counts[0]
        found[what] = layer, counts[0] + (config.n_layers - 1) * layer
    of_weights, (of_layer, of_all) = 2 * LENGTH * _weights(config) / 8, found["forward"]
    return [
        [what, f"{layer:.3g}", f"{layer / of_weights:.2f}", f"{layer / of_layer:.2f}", f"{whole / of_all:.2f}"]
        for what, (layer, whole) in found.items()
    ]


def _weights(config: ModelConfig) -> int:
    """The weights of a layer's products."""
    heads = 2 * (config.n_heads + config.n_kv_heads) * config.head_dim
    return config.d_model * (heads + 3 * config.d_ff)


def run(given: Sequence[str]) -> int:
    """Compile, and print the tables or put them into their page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=["1B", "8B", "70B"], action="append")
    parser.add_argument("--slice", choices=list(SLICES), action="append")
    parser.add_argument("--length", type=int, default=LENGTH, help="Tokens of a prompt.")
    parser.add_argument("--operations", action="store_true", help="The operations of a layer, in place of the rest.")
    parser.add_argument("--page", action="store_true", help=f"Put the tables into docs/{PAGE}.")
    options = parser.parse_args(given)
    for shape, config in shapes().items():
        if options.shape and shape not in options.shape:
            continue
        if options.operations:
            title = f"### Operations of a layer of {shape}, a chip of v5e:2x4, 1 × {LENGTH} tokens"
            names = ["call", "operations", "÷ 2 × positions × weights", "÷ forward's", "whole model ÷ forward's"]
            tables = [[title, markdown.markdown(names, operations(config))]]
        else:
            tables = (list(sections(shape, config, name, options.length)) for name in options.slice or SLICES)
        for parts in tables:
            text = "\n\n".join(parts) + "\n"
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
            if options.page:
                markdown.put(PAGE, text, merge=True)
    return 0


if __name__ == "__main__":
    import os

    use_libtpu(topology_of("v5e:2x4"), os.environ)
    sys.exit(run(sys.argv[1:]))
