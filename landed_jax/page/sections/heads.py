"""Every head, as a map of layers and heads."""

from landed_jax.page._blocks import Built, Chart, Column, Frame, Text
from landed_jax.page._charts import cells
from landed_jax.page._words import largest_said, value_name, write_name
from landed_jax.page.sections.section import Document, PageSection

_COLUMNS = (
    Column("name", "head", "text"),
    Column("landed", "landed"),
    Column("direct_effect", "direct effect"),
    Column("through_sigma", "through σ", "number", "direct effect less landed: what it does by changing σ"),
    Column("sigma_share", "σ share", "percent", "the head's part of the final σ²"),
)


def _build(document: Document) -> Built:
    detail = document.get("detail")
    rows = []
    for layer, heads in enumerate(document["heads"]):
        for head, landed in enumerate(heads):
            effect = detail and detail["heads"]["direct_effect"][layer][head]
            share = detail and detail["heads"]["sigma_share"][layer][head]
            through = None if effect is None else effect - landed
            rows.append(
                {
                    "layer": layer,
                    "head": head,
                    "landed": landed,
                    "direct_effect": effect,
                    "through_sigma": through,
                    "sigma_share": share,
                }
            )
    paths = {"landed": '["heads"][{layer}][{head}]'}
    measures = [("landed", "landed (σ held fixed)")]
    if detail:
        paths |= {
            name: f'["detail"]["heads"]["{name}"][{{layer}}][{{head}}]' for name in ("direct_effect", "sigma_share")
        }
        measures += [(column.key, column.title) for column in _COLUMNS[2:]]
    said = largest_said(rows, "landed", lambda row: write_name("head", row["layer"], row["head"]))
    shape = f"{len(document['heads'])} layers × {len(document['heads'][0])} heads"
    chart = Chart(
        "map", "heads", f"{shape}, contributions to {value_name(document)}", f"Map of {shape}. {said}",
        _COLUMNS if detail else _COLUMNS[:2], measures,
    )  # fmt: skip
    note = [] if detail else [Text("Direct effects of all heads are in a result with --detail.")]
    return Built([chart, *note], {"heads": Frame.of(rows, "head {layer}.{head}", paths)})


SECTION = PageSection(
    name="heads",
    title="Heads",
    of="run",
    build=_build,
    charts={"map": lambda: cells("head", "layer", "head", "layer")},
    place=3,
)
