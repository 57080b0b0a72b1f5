"""What `landed compare` says: a table for each task, level and ablation, and everything as JSON."""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from landed_jax.circuits import Graph, write_circuit
from landed_jax.comparison._bootstrap import Interval, bootstrap
from landed_jax.comparison._compare import TaskComparison
from landed_jax.comparison._curves import Curve
from landed_jax.comparison._rows import LevelComparison, MethodFacts, Row
from landed_jax.comparison._settings import Settings
from landed_jax.files.kinds import expanded
from landed_jax.nn.config import ModelConfig
from landed_jax.tables.quoted import Name
from landed_jax.tables.table import Block, Column, Paragraph, Table

_LEGENDS = {
    "r": "r: Pearson correlation with measured effects over a prompt's components, mean over prompts, and 95% interval",
    "rho": "ρ: Spearman's, likewise",
    "cpr": "CPR: area under faithfulness of circuits by score; CMD: area between it and 1, of circuits by |score|",
    "enough": "enough: components by score until the circuit is faithful to {threshold:g}",
    "evidence": "evid.: share of |attribution| over tokens that is on the token which decides the answer",
    "sum": "sum: mean |error| of what the scores should sum to, over mean |value|",
    "cost": "cost: time of the scores, in forward passes",
}


def comparison_document(model: str, settings: Settings, found: Sequence[TaskComparison]) -> dict[str, Any]:
    """The object of ``landed compare --json``."""
    return {
        "model": model,
        "settings": {
            "prompts": settings.prompts,
            "circuit_prompts": settings.circuit_prompts,
            "neurons": settings.neurons,
            "threshold": settings.threshold,
            "draws": settings.draws,
            "seed": settings.seed,
        },
        "tasks": [_task(one) for one in found],
    }


def _task(found: TaskComparison) -> dict[str, Any]:
    kept, settings = found.kept, found.settings
    prompts = {
        "drawn": kept.drawn,
        "single_tokens": kept.single_tokens,
        "aligned": kept.aligned,
        "right": kept.answered,
        "used": len(kept.prompts),
        "in_circuits": min(len(kept.prompts), settings.circuit_prompts),
    }
    methods = [_method(facts, settings) for facts in found.methods]
    return {
        "task": found.task,
        "prompts": prompts,
        "methods": methods,
        "levels": [_level(level, settings) for level in found.levels],
    }


def _method(facts: MethodFacts, settings: Settings) -> dict[str, Any]:
    evidence = facts.evidence
    return {
        "method": facts.name,
        "reference": facts.reference,
        "differs": facts.differs,
        "cost": _number(facts.cost),
        "conservation_error": _number(facts.conservation),
        "evidence": None
        if evidence is None
        else {
            "absolute": _mean(evidence.absolute, settings),
            "signed": _mean(evidence.signed, settings),
            "first": _mean(evidence.first, settings),
            "first_but_start": _mean(evidence.first_but_start, settings),
        },
    }


def _level(level: LevelComparison, settings: Settings) -> dict[str, Any]:
    curve = level.rows[0].by_score
    return {
        "level": level.level,
        "ablation": level.ablation,
        "components": level.components,
        "ablated_alone": level.measured,
        "always_kept": level.keeps,
        "value": float(curve.whole.mean()),
        "value_of_nothing": float(curve.nothing.mean()),
        "rows": [_row(row, settings) for row in level.rows],
    }


def _row(row: Row, settings: Settings) -> dict[str, Any]:
    how = {"draws": settings.draws, "seed": settings.seed}
    own = row.correlation
    correlations = None
    if own is not None:
        correlations = {name: _mean(getattr(own, name), settings) for name in ("pearson", "spearman", "overlap")}
        correlations |= {"pooled_pearson": own.pooled_pearson, "pooled_spearman": own.pooled_spearman}
    return {
        "method": row.method,
        "correlation": correlations,
        "cpr": _interval(row.by_score.cpr_interval(**how)),
        "cmd": _interval(row.by_size.cmd_interval(**how)),
        "area_without": _interval(row.without.cpr_interval(**how)),
        "enough": _interval(row.fine.enough(settings.threshold, **how)),
        "fraction": row.by_score.fraction.tolist(),
        "count": row.by_score.count.tolist(),
        "faithfulness_by_score": _numbers(row.by_score),
        "faithfulness_by_size": _numbers(row.by_size),
        "faithfulness_without": _numbers(row.without),
        "fine": {"count": row.fine.count.tolist(), "faithfulness": _numbers(row.fine)},
    }


def _mean(values: Any, settings: Settings) -> dict[str, Any]:
    return _interval(bootstrap(np.asarray(values, np.float64), draws=settings.draws, seed=settings.seed))


def _interval(found: Interval) -> dict[str, Any]:
    return {name: _number(number) for name, number in found._asdict().items()}


def _numbers(curve: Curve) -> list[float | None]:
    return [_number(float(value)) for value in curve.faithfulness]


def _number(value: float | None) -> float | None:
    """None for what is not finite: a circuit's faithfulness where ablating everything changes nothing."""
    return None if value is None or not math.isfinite(value) else value


def comparison_report(document: dict[str, Any]) -> list[Block]:
    """Its tables."""
    blocks: list[Block] = [Paragraph([Name(document["model"])] if document["model"] else "A model", "bold")]
    for task in document["tasks"]:
        prompts = task["prompts"]
        said = (
            f"{task['task']}: of {prompts['drawn']} prompts {prompts['single_tokens']} have answers of one token, "
            f"{prompts['aligned']} are aligned, {prompts['right']} are answered; {prompts['used']} are used, "
            f"{prompts['in_circuits']} in circuits."
        )
        blocks.append(Paragraph(said))
        blocks += [_table(task, level, document["settings"]) for level in task["levels"]]
    return blocks


def _table(task: dict[str, Any], level: dict[str, Any], settings: dict[str, Any]) -> Table:
    measured = any(row["correlation"] for row in level["rows"])
    columns = [Column("method", left=True, wrap=True)]
    if measured:
        columns += [Column("r", legend=_LEGENDS["r"]), Column("95%"), Column("ρ", legend=_LEGENDS["rho"], drop=5)]
    columns += [
        Column("CPR", legend=_LEGENDS["cpr"]),
        Column("CMD"),
        Column("enough", legend=_LEGENDS["enough"].format(**settings)),
        Column("95%", drop=3),
        Column("evid.", legend=_LEGENDS["evidence"], drop=2),
        Column("sum", legend=_LEGENDS["sum"], drop=1),
        Column("cost", legend=_LEGENDS["cost"], drop=4),
    ]
    facts = {method["method"]: method for method in task["methods"]}
    rows = [_cells(row, facts.get(row["method"], {}), measured) for row in level["rows"]]
    title = f"{task['task']}, {level['level']}, {level['ablation']} ablation of {level['components']} components"
    notes = [f"Circuits keep {level['always_kept']}."]
    if 0 < level["ablated_alone"] < level["components"]:
        notes.append(f"Correlations are over {level['ablated_alone']} of them: the largest by each method, and random.")
    return Table(title, columns, rows, notes=notes, elsewhere="--json")


def _cells(row: dict[str, Any], facts: dict[str, Any], measured: bool) -> list[str]:
    cells, own = [row["method"]], row["correlation"]
    if measured:
        cells += [_two(own["pearson"]), _range(own["pearson"], ".2f"), _two(own["spearman"])] if own else ["", "", ""]
    evidence = facts.get("evidence")
    return [
        *cells,
        _two(row["cpr"]),
        _two(row["cmd"]),
        _shown(row["enough"]["estimate"], ".0f"),
        _range(row["enough"], ".0f"),
        _two(evidence["absolute"]) if evidence else "",
        _shown(facts.get("conservation_error"), ".0e"),
        _shown(facts.get("cost"), ".1f"),
    ]


def _two(interval: dict[str, Any]) -> str:
    return _shown(interval["estimate"], ".2f")


def _range(interval: dict[str, Any], form: str) -> str:
    if interval["estimate"] is None or interval["low"] is None:
        return ""
    return "–".join(_shown(interval[end], form) for end in ("low", "high"))


def _shown(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def write_circuits(folder: str, config: ModelConfig, found: Sequence[TaskComparison]) -> None:
    """One file a task and method of edges: ``indirect_object.edge_attribution.json``."""
    graph, place = Graph.of(config), expanded(folder)
    place.mkdir(exist_ok=True)
    for task in found:
        for method, scores in task.edge_scores.items():
            name = ".".join(re.sub(r"\W+", "_", part) for part in (task.task, method))
            write_circuit(place / f"{name}.json", graph, jnp.asarray(scores))
