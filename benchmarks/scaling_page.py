"""The tables and the figure of docs/scaling.md: memory and time on TPU slices and GPUs, planned from shapes alone.

``python -m benchmarks.scaling_page`` prints the tables; ``--page`` puts them into the page and draws its figure.
Nothing is measured and no device is used.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.markdown import DOCS, markdown, put
from landed_jax.errors import LandedError
from landed_jax.loading import read_config
from landed_jax.memory.shortage import human_bytes
from landed_jax.nn.config import ModelConfig
from landed_jax.planning import Plan, plan, topology_of
from landed_jax.report.numbers import duration, significant

SHAPES = Path(__file__).resolve().parents[1] / "conversion" / "shapes"
LENGTH, PROMPTS, MOST = 2048, 1_000_000, 1024
NAMES = {"8B": "llama-3.1-8b", "70B": "llama-3.1-70b", "405B": "llama-3.1-405b"}
SLICES = {
    "8B": ("v5e:2x4", "v5e:4x4", "v5p:2x2x1", "v6e:2x2", "v6e:2x4", "h100:1", "h100:8", "h200:1", "h200:8"),
    "70B": ("v5e:4x8", "v5p:2x2x2", "v6e:4x4", "h100:8", "h200:8"),
    "405B": ("v5e:8x16", "v5p:2x4x4", "v6e:8x8", "h100:32", "h200:16"),
}
CALLS = ("forward", "last", "all", "effects", "top")


@dataclasses.dataclass(frozen=True)
class Curve:
    """Scaling of one model on slices of one kind.

    Attributes:
        slices: from small to large.
        batch: of strong scaling, on all slices; of weak scaling the smallest slice has 1, the others in proportion.
    """

    size: str
    slices: tuple[str, ...]
    batch: int

    @property
    def name(self) -> str:
        return f"{self.size}, {topology_of(self.slices[0]).chip.title}"

    def plans(self, weak: bool) -> list[Plan]:
        """One for each slice."""
        least = topology_of(self.slices[0]).count
        batches = [topology_of(name).count // least if weak else self.batch for name in self.slices]
        return [
            plan(config_of(self.size), name, length=LENGTH, batch=batch)
            for name, batch in zip(self.slices, batches, strict=True)
        ]


CURVES = (
    Curve("8B", ("v5e:2x4", "v5e:4x4", "v5e:4x8", "v5e:8x8", "v5e:8x16", "v5e:16x16"), 16),
    Curve("70B", ("v5p:2x2x2", "v5p:2x2x4", "v5p:2x4x4", "v5p:4x4x4", "v5p:4x4x8", "v5p:4x8x8"), 16),
    Curve("70B", ("h200:8", "h200:16", "h200:32", "h200:64", "h200:128", "h200:256"), 16),
    Curve("405B", ("v6e:8x8", "v6e:8x16", "v6e:16x16"), 4),
)


def config_of(size: str) -> ModelConfig:
    """A published shape."""
    return read_config(SHAPES / NAMES[size])[0]


def best_batch(size: str, topology: str) -> Plan | None:
    """The plan of `PROMPTS` prompts whose batch, a power of two, takes the least time; None where none fits.

    A larger batch has to gain at least one part in a hundred.
    """
    best: Plan | None = None
    for power in range(MOST.bit_length()):
        found = planned(size, topology, 2**power, prompts=PROMPTS)
        if found is not None and found.layout.fits and (best is None or _whole(found) < 0.99 * _whole(best)):
            best = found
    return best


def planned(size: str, topology: str, batch: int, **more: Any) -> Plan | None:
    """The plan of a batch; None where no mesh spreads it."""
    try:
        return plan(config_of(size), topology, length=LENGTH, batch=batch, **more)
    except LandedError:
        return None


def _whole(found: Plan) -> float:
    assert found.batches is not None
    return found.batches * found.layout.seconds.expected


def tables() -> str:
    """All of the page's tables."""
    sections = [
        ("One prompt, and a million", _slices()),
        ("By what is asked", _calls()),
        ("Strong scaling: the same prompts on more chips", _scaling(weak=False)),
        ("Weak scaling: a batch that grows with the chips", _scaling(weak=True)),
    ]
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in sections) + "\n"


def _slices() -> str:
    rows = []
    for size, names in SLICES.items():
        for name in names:
            one, many = planned(size, name, 1), best_batch(size, name)
            row = [size, f"`{name}`", *(_layout(one) if one is not None else ["no mesh", "", "", ""])]
            if many is None or many.batches is None:
                rows.append([*row, "none fits", "", "", "", ""])
                continue
            bound = duration(many.batches * many.layout.seconds.bound)
            mesh, memory, *_ = _layout(many)
            rows.append([*row, str(many.task.batch), mesh, memory, bound, duration(_whole(many))])
    one = ("mesh, one prompt", "a chip", "at least", "expected")
    many = ("batch", "mesh", "a chip", "a million: at least", "expected")
    return markdown(["shape", "slice", *one, *many], rows, left=2)


def _layout(found: Plan) -> list[str]:
    layout, seconds = found.layout, found.layout.seconds
    memory = human_bytes(layout.memory.total)
    shown = memory if layout.fits else f"{memory}: too much"
    return [f"{layout.data} × {layout.model}", shown, duration(seconds.bound), duration(seconds.expected)]


def _calls() -> str:
    rows = []
    for size, name, batch in (("8B", "v5e:4x4", 8), ("70B", "h200:8", 8), ("405B", "v5p:2x4x4", 8)):
        for what in CALLS:
            found = planned(size, name, batch, what=what)
            assert found is not None
            memory = found.layout.memory
            parts = (memory.parameters, memory.factors, memory.activations + memory.logits_block, memory.result)
            passes = str(found.layout.passes or "")
            sizes = [human_bytes(part) for part in parts]
            rows.append([f"{size}, `{name}`", f"`{what}`", passes, *sizes, *_layout(found)])
    head = ["8 prompts", "`--what`", "passes", "parameters", "factors", "activations, logits", "result"]
    return markdown([*head, "mesh", "together", "at least", "expected"], rows, left=2)


def _scaling(weak: bool) -> str:
    rows = []
    for curve in CURVES:
        plans = curve.plans(weak)
        pairs = list(zip(plans, ideal_seconds(plans, weak), strict=True))
        for found, ideal in [pairs[0], pairs[-1]] if weak else pairs:
            seconds = found.layout.seconds
            shares = (seconds.compute, seconds.memory, seconds.interconnect)
            sent = significant(found.layout.work.sent / 1e9)
            start = [curve.name, str(found.topology.count), str(found.task.batch)]
            rows.append([*start, *_layout(found), *map(duration, shares), sent, f"{ideal / seconds.expected:.0%}"])
    head = ["shape, chip", "chips", "batch", "mesh", "a chip", "at least", "expected"]
    return markdown([*head, "products", "memory", "interconnect", "GB sent a chip", "of ideal"], rows)


def ideal_seconds(plans: Sequence[Plan], weak: bool) -> list[float]:
    """The expected time if the smallest slice's work were spread without loss."""
    first = plans[0]
    expected = first.layout.seconds.expected
    return [expected if weak else expected * first.topology.count / found.topology.count for found in plans]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="Put the tables and the figure into docs/.")
    if parser.parse_args(arguments).page:
        from benchmarks.scaling_figure import draw

        put("scaling.md", tables())
        draw({curve.name: [curve.plans(weak) for weak in (False, True)] for curve in CURVES}, DOCS / "scaling.svg")
    else:
        sys.stdout.write(tables())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
