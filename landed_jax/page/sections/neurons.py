"""Groups of neighbouring neurons as a map of layers and groups, and the largest single ones."""

from landed_jax.page._blocks import Built, Chart, Column, Frame, TableOf
from landed_jax.page._charts import cells
from landed_jax.page._words import largest_said, write_name
from landed_jax.page.sections.section import Document, PageSection

_GROUPS = (Column("name", "group", "text"), Column("landed", "landed"))
_SINGLE = (
    Column("name", "neuron", "text"),
    Column("landed", "landed"),
    Column("direct_effect", "direct effect"),
    Column("sigma_share", "σ share", "percent", "the neuron's part of the final σ²"),
)


def _build(document: Document) -> Built | None:
    detail = document.get("detail")
    if detail is None:
        return None
    size, experts = detail["neuron_groups"]["size"], any("expert" in row for row in detail["neurons"][0])
    groups = [
        {"layer": layer, "group": group, "first": size * group, "last": size * (group + 1) - 1, "landed": landed}
        for layer, sums in enumerate(detail["neuron_groups"]["landed"])
        for group, landed in enumerate(sums)
    ]
    single = [
        {"write": write_name("neuron", layer, row["index"], row.get("expert")), "layer": layer, "place": place, **row}
        for layer, listed in enumerate(detail["neurons"])
        for place, row in enumerate(listed)
    ]
    single.sort(key=lambda row: -abs(row["landed"]))
    paths = {
        column.key: f'["detail"]["neurons"][{{layer}}][{{place}}]["{column.key}"]' for column in _SINGLE if column.form
    }
    paths.pop("name")
    of = "neurons of the chosen experts, in their order" if experts else "neurons"
    said = largest_said(groups, "landed", lambda row: f"layer {row['layer']} neurons {row['first']}–{row['last']}")
    chart = Chart(
        "map", "groups", f"Sums over groups of {size} {of}, by layer",
        f"Map of {len(detail['neurons'])} layers × {len(detail['neuron_groups']['landed'][0])} groups. {said}", _GROUPS,
    )  # fmt: skip
    caption = f"The {len(detail['neurons'][0])} largest neurons of each layer, the largest first"
    frames = {
        "groups": Frame.of(
            groups,
            "layer {layer}, neurons {first}–{last}",
            {"landed": '["detail"]["neuron_groups"]["landed"][{layer}][{group}]'},
        ),
        "single": Frame.of(single, "{write}", paths),
    }
    return Built([chart, TableOf("single", caption, _SINGLE)], frames)


SECTION = PageSection(
    name="neurons",
    title="Neurons",
    of="run",
    build=_build,
    charts={"map": lambda: cells("group", "layer", "group of neurons", "layer")},
    place=4,
)
