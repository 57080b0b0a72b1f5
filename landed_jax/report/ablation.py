"""What `landed ablate` says: each component's total, direct and indirect effect, and what is given back."""

from typing import TYPE_CHECKING, Any

import numpy as np

from landed_jax.analysis.attribution._table import signed
from landed_jax.interventions._effects_table import Effects, effects_table
from landed_jax.nn.hook_points import HookPoint
from landed_jax.report.question import RunQuestion
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.table import Block, Column, Paragraph, Table

if TYPE_CHECKING:
    from landed_jax.cli.progress import Report
    from landed_jax.model import Model

EFFECTS = ("total", "direct", "indirect", "total_frozen", "direct_frozen", "indirect_frozen", "self_repair")
_LEGENDS = {
    "total": "total: value less that of a run in which the component puts out 0 at every position",
    "direct": "direct: value less that without its write to this position's last stream, σ recomputed; in closed form",
    "indirect": "indirect: total − direct, through later components",
    "total_frozen": "σ frozen: every σ as in the clean run; direct is then the landed contribution",
    "self_repair": "given back: how much more all later writes say of the value without the component",
}


def ablate(model: "Model", asked: RunQuestion, components: str, progress: "Report | None" = None) -> Effects:
    """The effects of a model's components on the value that a run is asked for."""
    from landed_jax.analysis.reads._questions import Logit

    question = Logit(asked.target, against=asked.against)
    if asked.target is None and asked.against is not None:
        trace = model.trace([asked.prompt.ids], record={HookPoint.FINAL_NORMED}, at=asked.position)
        question = Logit(int(np.asarray(trace.logits).argmax()), against=asked.against)
    how: dict[str, Any] = {"components": components, "at": asked.position, "progress": progress}
    return effects_table(model, [asked.prompt.ids], question, **how)


def ablation_document(found: Effects, asked: RunQuestion, model: str) -> dict[str, Any]:
    """The object of ``landed ablate --json``: components from the largest total effect to the smallest."""
    return {
        "model": model,
        "prompt": asked.prompt.text,
        "tokens": [asked.vocabulary.text(token) for token in asked.prompt.ids],
        "token_ids": list(asked.prompt.ids),
        "position": asked.position,
        "target": _token(found.target, asked),
        "against": _token(found.against, asked),
        "value": float(found.value[0, 0]),
        "ablation": "zero",
        "components": _rows(found),
    }


def _token(ids: Any, asked: RunQuestion) -> dict[str, Any] | None:
    return None if ids is None else {"id": int(ids[0, 0]), "text": asked.vocabulary.text(int(ids[0, 0]))}


def _rows(found: Effects) -> list[dict[str, Any]]:
    numbers = {name: np.asarray(getattr(found, name))[..., 0, 0] for name in EFFECTS}
    labels = dict(found.labels)
    shape = numbers["total"].shape
    rows = []
    for flat in np.argsort(-np.abs(numbers["total"]), axis=None, kind="stable"):
        place = np.unravel_index(flat, shape)
        of = {axis: values[index] for (axis, values), index in zip(labels.items(), place, strict=True)}
        kind = of["hook_point"].removesuffix("_write") if "hook_point" in of else "head"
        row = {"kind": kind, "layer": of["layer"], "index": of.get("head")}
        rows.append(row | {name: float(values[place]) for name, values in numbers.items()})
    return rows


def ablation_report(document: dict[str, Any], top: int) -> list[Block]:
    """The table of the largest, under what was read."""
    target, against = document["target"], document["against"]
    asked: list[Item] = [Quoted(target["text"], after=":" if against is None else "")]
    if against is not None:
        asked += ["over", Quoted(against["text"], after=":")]
    kind = "logit" if against is None else "logit difference"
    named: list[Item] = [Name(document["model"])] if document["model"] else []
    columns = [Column("ablated", left=True)]
    for name in EFFECTS:
        title = name.removesuffix("_frozen") + ("\nσ frozen" if name.endswith("_frozen") else "\n")
        title = "given\nback" if name == "self_repair" else title
        drop = {"total_frozen": 2, "direct_frozen": 2, "indirect_frozen": 2, "self_repair": 1}.get(name)
        columns.append(Column(title.rstrip("\n"), drop=drop, legend=_LEGENDS.get(name, "")))
    rows = [[_name(row), *(signed(row[name]) for name in EFFECTS)] for row in document["components"][: max(top, 0)]]
    note = "A zero ablation can leave what the model was trained on: a total effect is of this one intervention."
    title = f"The {len(rows)} largest total effects of {len(document['components'])} components"
    return [
        Paragraph([*named, Passage(document["prompt"])]),
        Paragraph([*asked, f"{kind} {document['value']:.4f}"], "bold"),
        Table(title, columns, rows, notes=[note], elsewhere="--json"),
    ]


def _name(row: dict[str, Any]) -> str:
    kind = {"attn": "attention", "mlp": "MLP"}.get(row["kind"])
    return f"head {row['layer']}.{row['index']}" if kind is None else f"{kind} {row['layer']}"
