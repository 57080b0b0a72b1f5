"""Total effects: every component removed in turn and the model run again, where a sweep was run."""

from landed_jax.page._blocks import Block, Built, Chart, Column, Facts, Frame, TableOf, Text
from landed_jax.page._charts import bars, cells
from landed_jax.page._words import largest_said, value_name, write_name
from landed_jax.page.sections.section import Document, PageSection

_DRAWN = 24
_COLUMNS = (
    Column("name", "removed", "text"),
    Column("total", "total effect", "number", "value less that of a run in which the component puts out 0 everywhere"),
    Column("direct", "direct effect", "number", "value less that without its write to this position's last stream"),
    Column("indirect", "indirect effect", "number", "total − direct: through later components"),
    Column("total_frozen", "total, σ frozen"),
    Column("direct_frozen", "direct, σ frozen", "number", "the landed contribution"),
    Column("indirect_frozen", "indirect, σ frozen"),
    Column("self_repair", "given back", "number", "how much more all later writes say of the value without it"),
)


def of_components(document: Document) -> Built:
    """What a document of ``landed ablate`` shows."""
    rows = [
        {"component": write_name(row["kind"], row["layer"], row["index"]), "place": place, **row}
        for place, row in enumerate(document["components"])
    ]
    heads = all(row["kind"] == "head" for row in rows)
    across = [row | {"part": row["index"] if heads else row["component"].split()[0]} for row in rows]
    across.sort(key=lambda row: (row["layer"], row["part"]))
    paths = {column.key: f'ablate["components"][{{place}}]["{column.key}"]' for column in _COLUMNS[1:]}
    frames = {
        "components": Frame.of(rows, "{component}", paths),
        "drawn": Frame.of(rows[:_DRAWN], "{component}", paths),
        "across": Frame.of(across, "{component}", paths),
    }
    said = largest_said(rows, "total", lambda row: row["component"])
    measures = [(column.key, column.title) for column in _COLUMNS[1:]]
    blocks: list[Block] = [
        Text("Each component is set to 0 at every position, one at a time, and the later layers run again."),
        Facts([("Value", document["value"], "number", 'ablate["value"]')]),
        Chart(
            "heads" if heads else "parts", "across", f"Effects on {value_name(document)}", said, _COLUMNS[:4], measures
        ),
        Chart("bars", "drawn", f"The {len(rows[:_DRAWN])} largest total effects", said, _COLUMNS[:4], measures[:3]),
        TableOf("components", f"Effects of all {len(rows)} components", _COLUMNS),
    ]
    return Built(blocks, frames)


CHARTS = {
    "heads": lambda: cells("part", "layer", "head", "layer"),
    "parts": lambda: cells("part", "layer", "", "layer"),
    "bars": lambda: bars("effect"),
}


def _build(document: Document) -> Built:
    sweep = document.get("ablation")
    if sweep is None:
        return Built(
            [Text("No sweep was run: give the JSON of landed ablate beside this result to see total effects.")]
        )
    return of_components(sweep)


SECTION = PageSection(name="total", title="Total effects", of="run", build=_build, charts=CHARTS, place=9)
