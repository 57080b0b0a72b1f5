"""Markdown tables of what `landed compare --json` measured: ``python -m benchmarks.compare_tables FILE.json …``.

They stand in ``docs/compare.md``, between the lines ``<!-- tables -->`` and ``<!-- end of tables -->``; ``--page`` puts
them there, in place of earlier ones of the same model, task, levels and ablation.
"""

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import markdown


def tables(documents: Sequence[dict[str, Any]]) -> str:
    """All tables of some documents."""
    parts = []
    for document in documents:
        for task in document["tasks"]:
            prompts, settings = task["prompts"], document["settings"]
            levels = ", ".join(level["level"] for level in task["levels"])
            ablation = task["levels"][0]["ablation"]  # one for all levels of a command
            parts.append(f"### {document['model'] or 'A model'}: {task['task']} ({levels}; {ablation} ablation)")
            parts.append(
                f"Of {prompts['drawn']} prompts {prompts['single_tokens']} have answers of one token, "
                f"{prompts['aligned']} are aligned, {prompts['right']} are answered. {prompts['used']} are used, "
                f"{prompts['in_circuits']} in circuits; seed {settings['seed']}."
            )
            parts += [_level(level) for level in task["levels"]]
            parts.append(_facts(task["methods"]))
    return "\n\n".join(parts) + "\n"


def _level(level: dict[str, Any]) -> str:
    heading = (
        f"**{level['level']}, {level['ablation']} ablation** ({level['components']:,} components; kept are "
        f"{level['always_kept']}; value {level['value']:.2f}, {level['value_of_nothing']:.2f} with all of them ablated)"
    )
    names = ["method", "Pearson", "Spearman", "top 10", "CPR", "CMD", "enough for f", "area without"]
    rows = []
    for row in level["rows"]:
        own = row["correlation"]
        three = (
            [_with(own[name]) for name in ("pearson", "spearman")] + [_with(own["overlap"])] if own else ["", "", ""]
        )
        areas = [_with(row["cpr"]), _with(row["cmd"]), _with(row["enough"], ".0f"), _with(row["area_without"])]
        rows.append([row["method"], *three, *areas])
    if not any(row["correlation"] for row in level["rows"]):
        names, rows = [names[0], *names[4:]], [[row[0], *row[4:]] for row in rows]
    elif level["ablated_alone"] < level["components"]:
        heading += f"; correlations over {level['ablated_alone']} of them"
    return f"{heading}\n\n{markdown.markdown(names, rows)}"


def _facts(methods: Sequence[dict[str, Any]]) -> str:
    rows = []
    for method in methods:
        evidence = method["evidence"]
        four = ("absolute", "signed", "first", "first_but_start")
        shares = [_with(evidence[name]) for name in four] if evidence else ["", "", "", ""]
        rows.append([method["method"], *shares, _one(method["conservation_error"], ".1e"), _one(method["cost"], ".1f")])
    names = ["method", "evidence", "signed", "ranked first", "without the first token", "sum's error", "cost"]
    return markdown.markdown(names, rows)


def _with(interval: dict[str, Any], form: str = ".2f") -> str:
    if interval["estimate"] is None or interval["low"] is None:
        return ""
    low, high = (_one(interval[end], form) for end in ("low", "high"))
    return f"{_one(interval['estimate'], form)} ({low} to {high})"


def _one(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def run(arguments: Sequence[str]) -> int:
    """Print the tables, or put them into the page."""
    return markdown.run(tables, "compare.md", arguments, merge=True)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
