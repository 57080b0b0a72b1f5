"""σ and the amplification at every norm that reads the stream, with the range over coordinates."""

from typing import TYPE_CHECKING, Any

from landed_jax.page._blocks import Built, Chart, Column, Frame, Text
from landed_jax.page._charts import by_sign, names, rows, sized
from landed_jax.page._packages import altair
from landed_jax.page.sections.section import Document, PageSection

if TYPE_CHECKING:
    from altair import LayerChart

_COLUMNS = (
    Column("name", "read site", "text"),
    Column("sigma", "σ", "significant"),
    Column("min", "|γ|/σ min", "significant"),
    Column("median", "|γ|/σ median", "significant"),
    Column("max", "|γ|/σ max", "significant"),
)


def _build(document: Document) -> Built | None:
    sites: list[dict[str, Any]] = []
    for place, row in enumerate(document["scale"]):
        spread = row["amplification"]
        if spread is not None:
            sites.append({"site": row["site"], "place": place, "sigma": row["sigma"], **spread})
    if not sites:
        return None
    # A logarithmic axis has no place for 0: such a bar begins at its left end, and the table says 0.
    least = min((row["min"] for row in sites if row["min"] > 0), default=1e-3)
    for row in sites:
        row["low"] = max(row["min"], least)
    medians = [row["median"] for row in sites]
    said = f"At {len(sites)} norms the median amplification is between {min(medians):.3g} and {max(medians):.3g}."
    paths = {name: f'["scale"][{{place}}]["amplification"]["{name}"]' for name in ("min", "median", "max")}
    paths["sigma"] = '["scale"][{place}]["sigma"]'
    raw = len(document["scale"]) - len(sites)
    notes = [Text(f"{raw} blocks read the stream itself: they amplify nothing.")] if raw else []
    title = "|γ|/σ of the coordinates: median, smallest and largest, at each norm"
    chart = Chart("range", "sites", title, said, _COLUMNS, [("median", "median")])
    return Built([chart, *notes], {"sites": Frame.of(sites, "{site}", paths)})


def _range() -> "LayerChart":
    alt = altair()
    x = alt.X("low:Q", title="|γ|/σ", scale=alt.Scale(type="log", nice=False))
    spread = rows().mark_rule(strokeWidth=4, opacity=0.45, color="gray").encode(x=x, x2="max:Q", y=names())
    middle = rows().mark_point(filled=True, size=60, cursor="pointer", opacity=1)
    middle = middle.encode(x="median:Q", y=names(), color=by_sign(), description="spoken:N")
    return sized(alt.layer(spread, middle))


SECTION = PageSection(
    name="scale",
    title="Amplification",
    of="run",
    build=_build,
    charts={"range": _range},
    place=6,
)
