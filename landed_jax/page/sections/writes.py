"""The largest writes: next and final landing, direct effect and part of σ² side by side."""

from typing import Any

from landed_jax.page._blocks import Built, Chart, Column, Frame, TableOf
from landed_jax.page._charts import bars
from landed_jax.page._words import largest_said, quoted, value_name, write_name
from landed_jax.page.sections.section import Document, PageSection

_COLUMNS = (
    Column("name", "write", "text"),
    Column("source", "from token", "text", "of a head: the source token with the largest part in it"),
    Column("landed", "landed", "number", "at the final norm, σ held fixed"),
    Column("direct_effect", "direct effect", "number", "σ recomputed, later layers as they ran; not the total effect"),
    Column("capped", "direct, capped", "number", "on the model's own logit, after its soft-cap"),
    Column("difference", "diff. landed", "number", "in the difference to the likeliest other token"),
    Column("difference_effect", "diff. direct", "number", "the same, direct effect"),
    Column("sigma_share", "σ share", "percent", "the write's part of the final σ²"),
    Column("next", "|γ|/σ next", "significant", "median over coordinates, at the first norm that reads the write"),
    Column("final", "|γ|/σ final", "significant", "the same at the final norm, where it lands here"),
)
_PATHS = {
    "landed": '["landed"]',
    "direct_effect": '["direct_effect"]',
    "capped": '["capped_effect"]',
    "difference": '["difference"]["landed"]',
    "difference_effect": '["difference"]["direct_effect"]',
    "sigma_share": '["sigma_share"]',
    "next": '["amplification"]',
}


def of_writes(document: Document) -> Built | None:
    """What the largest writes of an account show, or of a generated token's."""
    writes = document["top_writes"]
    if not writes:
        return None
    scale = document.get("scale")
    final = scale[-1]["amplification"] if scale else None
    rows = []
    for place, write in enumerate(writes):
        source, difference = write["source"], write["difference"] or {}
        rows.append(
            {
                "write": write_name(write["kind"], write["layer"], write["index"], write.get("expert")),
                "place": place,
                "source": source and _source(source, document),
                "landed": write["landed"],
                "direct_effect": write["direct_effect"],
                "capped": write.get("capped_effect"),
                "difference": difference.get("landed"),
                "difference_effect": difference.get("direct_effect"),
                "sigma_share": write["sigma_share"],
                "next": write["amplification"],
                "final": final and final["median"],
            }
        )
    start = document.get("start", "")
    paths = {name: f'{start}["top_writes"][{{place}}]{path}' for name, path in _PATHS.items()}
    paths["final"] = '["scale"][-1]["amplification"]["median"]'
    columns = [
        column for column in _COLUMNS if column.key == "name" or any(row[column.key] is not None for row in rows)
    ]
    shown = ("landed", "direct_effect", "difference", "difference_effect")
    measures = [(column.key, column.title) for column in columns if column.key in shown]
    said = f"Bars of {len(rows)} writes. " + largest_said(rows, "landed", lambda row: row["write"])
    title = f"The {len(rows)} largest contributions to {value_name(document)}"
    chart = Chart("bars", "writes", title, said, columns[:1] + columns[2:4], measures)
    caption = f"The {len(rows)} largest writes, landed contribution and direct effect side by side"
    return Built([chart, TableOf("writes", caption, columns)], {"writes": Frame.of(rows, "{write}", paths)})


def _source(source: dict[str, Any], document: Document) -> str:
    """A source token; a model without a tokenizer has its number for a text."""
    text = document["tokens"][source["position"]] if source["text"] is None else source["text"]
    return f"{quoted(text)}@{source['position']}"


CHARTS = {"bars": lambda: bars("contribution")}
SECTION = PageSection(
    name="writes",
    title="Largest writes",
    of="run",
    build=of_writes,
    charts=CHARTS,
    place=5,
)
