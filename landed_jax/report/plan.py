"""What `landed plan` says: one JSON object, and the tables that are made of it."""

import dataclasses
from typing import Any

from landed_jax.memory.shortage import human_bytes
from landed_jax.planning._choose import Layout
from landed_jax.planning._compiled_plan import Verdict
from landed_jax.planning._plan import Plan
from landed_jax.planning._task import WHATS
from landed_jax.report.numbers import duration, significant
from landed_jax.tables.quoted import Name, Passage
from landed_jax.tables.table import Block, Column, Paragraph, Table

_PARTS = {
    "parameters": "parameters",
    "factors": "factors of all layers",
    "activations": "activations of one layer",
    "logits_block": "logits of some positions",
    "result": "result",
    "total": "together",
}


def plan_document(plan: Plan, model: str, verdict: Verdict | None = None) -> dict[str, Any]:
    """The object of ``landed plan --json``: bytes, operations and seconds of one chip and one batch.

    Args:
        verdict: the compiler's, where it was asked.
    """
    layout, topology = plan.layout, plan.topology
    chip = topology.chip
    prompts = None
    if plan.prompts is not None and plan.batches is not None:
        seconds = layout.seconds
        prompts = {"count": plan.prompts, "batches": plan.batches}
        prompts |= {"bound": plan.batches * seconds.bound, "expected": plan.batches * seconds.expected}
    return {
        "model": model,
        "what": plan.task.what,
        "length": plan.task.length,
        "batch": plan.task.batch,
        "topology": {
            "name": topology.name,
            "chip": chip.title,
            "chips": topology.count,
            "memory": chip.memory,
            "usable": chip.usable,
            "products_per_second": chip.products[plan.precision],
            "bytes_per_second": chip.bandwidth,
            "sent_per_second": topology.link_of(layout.model),
        },
        "mesh": {"data": layout.data, "model": layout.model, "chosen": plan.chosen},
        "dtype": plan.dtype,
        "precision": plan.precision,
        "passes": layout.passes,
        "fits": layout.fits,
        "memory": dataclasses.asdict(layout.memory) | {"total": layout.memory.total},
        "work": {"flops": dict(layout.work.flops), "moved": dict(layout.work.moved), "sent": layout.work.sent},
        "seconds": _seconds(layout),
        "prompts": prompts,
        "other_meshes": [_other(other) for other in plan.others],
        "compiled": None if verdict is None else _verdict(verdict),
    }


def _seconds(layout: Layout) -> dict[str, float]:
    seconds = layout.seconds
    return dataclasses.asdict(seconds) | {"bound": seconds.bound, "expected": seconds.expected}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    compiled = verdict.compiled
    if compiled is None:
        return {"fits": False, "says": verdict.says}
    sent = [
        {"kind": one.kind, "bytes": one.bytes, "in_loop": one.in_loop, "in_branch": one.in_branch}
        for one in compiled.collectives
    ]
    sizes = {"arguments": compiled.arguments, "temporaries": compiled.temporaries, "results": compiled.results}
    return {"fits": True, "says": ""} | sizes | {"total": compiled.bytes, "collectives": sent}


def _other(layout: Layout) -> dict[str, Any]:
    return {
        "data": layout.data,
        "model": layout.model,
        "passes": layout.passes,
        "fits": layout.fits,
        "memory": layout.memory.total,
        "bound": layout.seconds.bound,
        "expected": layout.seconds.expected,
    }


def plan_blocks(document: dict[str, Any]) -> list[Block]:
    """The tables of a document."""
    blocks: list[Block] = [_summary(document), _memory(document), _time(document)]
    if document["compiled"] is not None:
        blocks.append(_compiled(document))
    if document["mesh"]["chosen"]:
        blocks.append(_meshes(document))
    fraction = document["seconds"]["fraction"]
    blocks.append(
        Paragraph(
            "From shapes and published figures: nothing was run. No program is faster than the bound; expected is "
            f"the longer of products and memory, and then the interconnect, each at {fraction:.0%} of its published "
            "rate, an assumption. Compiling and reading the weights come on top.",
            "dim",
        )
    )
    return blocks


def _summary(document: dict[str, Any]) -> Table:
    topology, mesh, usable = document["topology"], document["mesh"], document["topology"]["usable"]
    total = document["memory"]["total"]
    fits = f"{human_bytes(total)} of {human_bytes(usable)} a chip"
    rows = [
        ("chips", f"{topology['chips']:,} × {topology['chip']} ({topology['name']})"),
        ("mesh", f"data={mesh['data']},model={mesh['model']}{_choice(document)}"),
        ("prompts", f"{document['batch']:,} of {document['length']:,} tokens at a time"),
        ("what", WHATS[document["what"]]),
        ("weights", f"{document['dtype']}; products at JAX's {document['precision']} precision"),
    ]
    if document["passes"] is not None:
        rows.append(("passes", {1: "one", 2: "two"}[document["passes"]]))
    rows.append(("fits", f"{'yes' if document['fits'] else 'no'}: {fits}"))
    rows.append(("a batch", _both(document["seconds"])))
    if (prompts := document["prompts"]) is not None:
        rows.append((f"{prompts['count']:,} prompts", f"{_both(prompts)}, in {prompts['batches']:,} batches"))
    columns = [Column("fact", left=True), Column("value", left=True, wrap=True)]
    return Table([Name(document["model"])], columns, rows, header=False)


def _choice(document: dict[str, Any]) -> str:
    if not document["mesh"]["chosen"]:
        return ""
    if not document["fits"]:
        return " (no mesh fits; this takes the least memory)"
    return " (the fastest that fits)" if document["other_meshes"] else " (the only one that is even)"


def _both(seconds: dict[str, float]) -> str:
    return f"at least {duration(seconds['bound'])}, expected {duration(seconds['expected'])}"


def _memory(document: dict[str, Any]) -> Table:
    memory, usable = document["memory"], document["topology"]["usable"]
    columns = [Column("part", left=True), Column("memory"), Column("of its limit", drop=1)]
    rows = [[words, human_bytes(memory[part]), f"{memory[part] / usable:.1%}"] for part, words in _PARTS.items()]
    return Table("Memory of a chip", columns, rows)


def _time(document: dict[str, Any]) -> Table:
    work, seconds, topology = document["work"], document["seconds"], document["topology"]
    flops, moved = sum(work["flops"].values()), sum(work["moved"].values())
    columns = [Column("of a chip", left=True), Column("amount"), Column("rate a second"), Column("time alone")]
    rows = [
        [
            "products",
            f"{significant(flops / 1e12)} TFLOP",
            f"{significant(topology['products_per_second'] / 1e12)} TFLOP",
            duration(seconds["compute"]),
        ],
        [
            "memory, read and written",
            f"{significant(moved / 1e9)} GB",
            f"{significant(topology['bytes_per_second'] / 1e9)} GB",
            duration(seconds["memory"]),
        ],
        [
            "interconnect, sent",
            f"{significant(work['sent'] / 1e9)} GB",
            f"{significant(topology['sent_per_second'] / 1e9)} GB",
            duration(seconds["interconnect"]),
        ],
    ]
    return Table("Time of a batch", columns, rows)


def _compiled(document: dict[str, Any]) -> Block:
    compiled, memory = document["compiled"], document["memory"]
    if not compiled["fits"]:
        return Paragraph(["As compiled for this slice it does not fit:", Passage(compiled["says"])])
    working = memory["factors"] + memory["activations"] + memory["logits_block"]
    rows = [
        ("arguments", compiled["arguments"], memory["parameters"]),
        ("temporaries", compiled["temporaries"], working),
        ("results", compiled["results"], memory["result"]),
        ("together", compiled["total"], memory["total"]),
    ]
    columns = [Column("part", left=True), Column("compiled"), Column("planned")]
    cells = [[name, human_bytes(found), human_bytes(ours)] for name, found, ours in rows]
    kinds = sorted({one["kind"] for one in compiled["collectives"]})
    counts = [_count(kind, [one for one in compiled["collectives"] if one["kind"] == kind]) for kind in kinds]
    return Table(
        "Memory of a chip, as compiled", columns, cells, notes=[f"Between chips: {', '.join(counts) or 'none'}."]
    )


def _count(kind: str, found: list[dict[str, Any]]) -> str:
    looped = sum(one["in_loop"] for one in found)
    return f"{len(found)} {kind} ({looped} in loops)"


def _meshes(document: dict[str, Any]) -> Table:
    columns = [
        Column("data"),
        Column("model"),
        Column("memory"),
        Column("fits", left=True),
        Column("passes", drop=1),
        Column("at least"),
        Column("expected"),
    ]
    mesh, seconds = document["mesh"], document["seconds"]
    chosen = {key: document[key] for key in ("passes", "fits")} | mesh | seconds
    rows = [chosen | {"memory": document["memory"]["total"]}, *document["other_meshes"]]
    return Table(
        "Meshes, the chosen one first",
        columns,
        [
            [
                str(row["data"]),
                str(row["model"]),
                human_bytes(row["memory"]),
                "yes" if row["fits"] else "no",
                str(row["passes"] or ""),
                duration(row["bound"]),
                duration(row["expected"]),
            ]
            for row in rows
        ],
        keys=2,
    )
