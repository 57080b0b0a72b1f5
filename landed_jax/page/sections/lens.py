"""The logit lens at every read site, where the result has it."""

from typing import TYPE_CHECKING

from landed_jax.page._blocks import Built, Chart, Column, Frame
from landed_jax.page._charts import bars
from landed_jax.page._words import quoted, value_name
from landed_jax.page.sections.section import Document, PageSection

if TYPE_CHECKING:
    from altair import Chart as AltairChart

_COLUMNS = (
    Column("name", "read site", "text"),
    Column("own_sigma", "own σ", "number", "the value of the stream there, under its own σ and the final norm's γ"),
    Column("final_sigma", "final σ", "number", "the same under the final norm's σ"),
    Column("landed", "landed", "number", "what was written since the site before"),
    Column("written_before", "written before", "text"),
    Column("likeliest", "likeliest", "text", "the token with the largest logit in the lens"),
)


def _build(document: Document) -> Built | None:
    lens = document.get("lens")
    if lens is None:
        return None
    rows = [
        {"place": place, **row, "likeliest": quoted(row["top"]["text"]), "top": None} for place, row in enumerate(lens)
    ]
    paths = {name: f'["lens"][{{place}}]["{name}"]' for name in ("own_sigma", "final_sigma", "landed")}
    title = f"What the stream says of {value_name(document)} at each norm"
    said = f"Bars from {lens[0]['own_sigma']:+.4f} at {lens[0]['site']} to {lens[-1]['own_sigma']:+.4f} at the last."
    chart = Chart("bars", "sites", title, said, _COLUMNS, [("own_sigma", "own σ"), ("final_sigma", "final σ")])
    return Built([chart], {"sites": Frame.of(rows, "{site}: {likeliest}", paths)})


def _bars() -> "AltairChart":
    return bars("value in the lens")


SECTION = PageSection(name="lens", title="Logit lens", of="run", build=_build, charts={"bars": _bars}, place=10)
