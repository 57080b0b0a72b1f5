"""Attribution methods compared: the scores of a result of `landed compare`, and the faithfulness of their circuits."""

from typing import TYPE_CHECKING, Any

from landed_jax.page._blocks import Block, Built, Chart, Column, Facts, Frame, TableOf
from landed_jax.page._charts import by_sign, names, rows, sized
from landed_jax.page._packages import altair
from landed_jax.page.sections.section import Document, PageSection
from landed_jax.printable import printable

if TYPE_CHECKING:
    from altair import LayerChart

_SCORES = {
    "cpr": ("CPR", "area under faithfulness of circuits by score"),
    "cmd": ("CMD", "area between faithfulness and 1, of circuits by |score|"),
    "area_without": ("without", "area under faithfulness of the model without the circuit"),
    "enough": ("enough", "components by score until the circuit is faithful"),
}
_CORRELATIONS = {"pearson": "r", "spearman": "ρ", "overlap": "overlap"}


def _build(document: Document) -> Built:
    blocks: list[Block] = []
    frames: dict[str, Frame] = {}
    for t, task in enumerate(document["tasks"]):
        prompts = task["prompts"]
        blocks.append(Facts([(f"Prompts of {printable(task['task'])}", prompts["used"], "count", "")]))
        for n, level in enumerate(task["levels"]):
            name, at = f"{t}-{n}", f'["tasks"][{t}]["levels"][{n}]["rows"][{{place}}]'
            found = [_row(place, row) for place, row in enumerate(level["rows"])]
            columns = [column for column in _columns() if column.key == "name" or any(r[column.key] for r in found)]
            paths = {
                f"{score}_{end}": f'{at}["{score}"]["{field}"]'
                for score in _SCORES
                for end, field in (("value", "estimate"), ("low", "low"), ("high", "high"))
            }
            paths |= {score: f'{at}["correlation"]["{score}"]["estimate"]' for score in _CORRELATIONS}
            frames[name] = Frame.of(found, "{method}", paths)
            what = f"{printable(task['task'])}, {level['level']}, {level['ablation']} ablation"
            title = f"{what} of {level['components']} components"
            best = max((r for r in found if r["cpr_value"] is not None), key=lambda r: r["cpr_value"], default=None)
            said = "" if best is None else f"The largest CPR: {best['method']}, {best['cpr_value']:.3f}."
            blocks.append(Chart("intervals", name, f"CPR: {title}", said, columns[:4]))
            blocks.append(TableOf(name, title, columns))
    return Built(blocks, frames)


def _columns() -> list[Column]:
    scores = [
        Column(f"{score}_{end}", f"{title} {words}".rstrip(), "significant", legend if end == "value" else "")
        for score, (title, legend) in _SCORES.items()
        for end, words in (("value", ""), ("low", "from"), ("high", "to"))
    ]
    correlations = [Column(name, title, "significant") for name, title in _CORRELATIONS.items()]
    return [Column("name", "method", "text"), *scores, *correlations]


def _row(place: int, row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"method": printable(row["method"]), "place": place}
    for score in _SCORES:
        found |= {f"{score}_value": row[score]["estimate"]}
        found |= {f"{score}_{end}": row[score][end] for end in ("low", "high")}
    own = row["correlation"]
    return found | {score: own and own[score]["estimate"] for score in _CORRELATIONS}


def _intervals() -> "LayerChart":
    alt = altair()
    x = alt.X("cpr_low:Q", title="CPR, with its 95 % interval")
    spread = rows().mark_rule(strokeWidth=4, opacity=0.45, color="gray").encode(x=x, x2="cpr_high:Q", y=names())
    middle = rows().mark_point(filled=True, size=60, cursor="pointer", opacity=1)
    how = {"x": "cpr_value:Q", "y": names(), "color": by_sign(), "description": "spoken:N"}
    return sized(alt.layer(spread, middle.encode(**how)))


SECTION = PageSection(
    name="methods", title="Methods compared", of="compare", build=_build, charts={"intervals": _intervals}
)
