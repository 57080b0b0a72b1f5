"""Which tokens the heads took their contributions from: all heads together, and the largest heads each."""

from typing import TYPE_CHECKING, Any

from landed_jax.page._blocks import Block, Built, Chart, Column, Frame, TableOf, Text
from landed_jax.page._charts import bars, cells
from landed_jax.page._words import largest_said, quoted, value_name, write_name
from landed_jax.page.sections.section import Document, PageSection

if TYPE_CHECKING:
    from altair import Chart as AltairChart

_HEADS = 12  # with the largest contributions
_DRAWN = 40  # tokens, those with the largest contributions
_TOKENS = (
    Column("name", "token", "text"),
    Column("position", "position", "count"),
    Column("landed", "all heads"),
    Column("share", "of the value", "percent"),
)
_PATHS = {"landed": '["by_source"]["heads"][{layer}][{head}][{position}]'}
_CELLS = (Column("name", "head and token", "text"), Column("landed", "landed"))


def _build(document: Document) -> Built:
    sources = document.get("by_source")
    if sources is None:
        return Built([Text("Source tokens are in a result with --by-source.")])
    here = document["position"] + 1  # no head reads what comes after
    rows: list[dict[str, Any]] = [
        {
            "token": quoted(text),
            "position": position,
            "landed": landed,
            "share": landed / document["logit"] if document["logit"] else None,
        }
        for position, (text, landed) in enumerate(zip(document["tokens"][:here], sources["tokens"][:here], strict=True))
    ]
    shown = sorted(sorted(range(here), key=lambda at: -abs(rows[at]["landed"]))[:_DRAWN])
    paths = {"landed": '["by_source"]["tokens"][{position}]'}
    by_head = _by_head(document, sources["heads"], shown)
    frames = {
        "tokens": Frame.of(rows, "{token} at {position}", paths),
        "drawn": Frame.of([rows[at] for at in shown], "{token} at {position}", paths),
        "heads": Frame.of(by_head, "{write} from {token}", _PATHS),
    }
    said = largest_said(rows, "landed", lambda row: f"{row['token']} at {row['position']}")
    each = largest_said(by_head, "landed", lambda row: f"{row['write']} from {row['token']}")
    cut = f", the {len(shown)} largest of {here}" if len(shown) < here else ""
    what = f"contributions to {value_name(document)}, by the token that they were read from{cut}"
    blocks: list[Block] = [
        Chart("bars", "drawn", f"All heads together: {what}", said, _TOKENS, [("landed", "landed")]),
        Chart("map", "heads", f"The heads with the largest sums: {what}", each, _CELLS),
        TableOf("tokens", "Landed contributions by source token", _TOKENS),
    ]
    return Built(blocks, frames)


def _by_head(document: Document, heads: list[list[list[float]]], shown: list[int]) -> list[dict[str, Any]]:
    places = [(layer, head) for layer, row in enumerate(document["heads"]) for head in range(len(row))]
    places.sort(key=lambda at: -abs(document["heads"][at[0]][at[1]]))
    return [
        {
            "layer": layer,
            "head": head,
            "write": write_name("head", layer, head),
            "position": position,
            "token": f"{position} {quoted(document['tokens'][position])}",
            "landed": heads[layer][head][position],
        }
        for layer, head in places[:_HEADS]
        for position in shown
    ]


def _map() -> "AltairChart":
    return cells("write", "token", "head", "source token", turned=True)


SECTION = PageSection(
    name="sources",
    title="Source tokens",
    of="run",
    build=_build,
    charts={"bars": lambda: bars("contribution"), "map": _map},
    place=8,
)
