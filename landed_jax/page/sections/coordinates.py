"""Which coordinates of the landed stream carry the value, and how many reach parts of it."""

from typing import Any

from landed_jax.page._blocks import Block, Built, Chart, Column, Facts, Frame, TableOf, Text
from landed_jax.page._charts import bars
from landed_jax.page._words import largest_said, value_name
from landed_jax.page.sections.section import Document, PageSection

_COLUMNS = (
    Column("name", "coordinate", "text"),
    Column("contribution", "contribution"),
    Column("sum", "sum so far", "number", "of the largest, down to this one"),
    Column("share", "of the value", "percent"),
)
_DRAWN = 24
_CHECK = (Column("name", "landed stream", "text"), Column("value", "value"), Column("rank", "rank", "count"))
_CHECKED = {"whole": "whole", "kept": "the counted coordinates alone", "ablated": "all others"}


def _build(document: Document) -> Built:
    counts, detail = document["coordinates"], document.get("detail")
    blocks: list[Block] = [Facts([_counted(percent, counts[f"for_{percent}"], detail) for percent in (50, 90, 99)])]
    frames = {}
    if detail:
        rows, total = [], 0.0
        for place, row in enumerate(detail["coordinates"]):
            total += row["contribution"]
            share = total / document["logit"] if document["logit"] else None
            rows.append({**row, "place": place, "sum": total, "share": share})
        paths = {"contribution": '["detail"]["coordinates"][{place}]["contribution"]'}
        frames["largest"] = Frame.of(rows, "coordinate {coordinate}", paths)
        frames["drawn"] = Frame.of(rows[:_DRAWN], "coordinate {coordinate}", paths)
        said = largest_said(rows, "contribution", lambda row: f"coordinate {row['coordinate']}")
        title = f"The {len(rows[:_DRAWN])} largest of {detail['d_model']} coordinates of {value_name(document)}"
        blocks.append(Chart("bars", "drawn", title, said, _COLUMNS, [("contribution", "contribution")]))
        blocks.append(TableOf("largest", f"The {len(rows)} largest coordinates", _COLUMNS))
    else:
        blocks.append(Text("The coordinates themselves are in a result with --detail."))
    if "coordinate_detail" in document:
        check = document["coordinate_detail"]["causal_check"]
        rows = [{"stream": words, "of": name, **check[name]} for name, words in _CHECKED.items()]
        path = '["coordinate_detail"]["causal_check"]["{of}"]'
        frames["check"] = Frame.of(rows, "{stream}", {name: f'{path}["{name}"]' for name in ("value", "rank")})
        caption = f"The {check['coordinates']} coordinates that reach {check['fraction']:.0%}, alone and left out"
        blocks += [Text(_control(document["coordinate_detail"])), TableOf("check", caption, _CHECK)]
    else:
        note = "A count is low or high only beside those in random bases, which --coordinates gives."
        blocks.insert(1, Text(note))
    return Built(blocks, frames)


def _counted(percent: int, count: int, detail: dict[str, Any] | None) -> tuple[str, Any, str, str]:
    of = f" of {detail['d_model']}" if detail else ""
    return (f"Coordinates{of} that first reach {percent} %", count, "count", f'["coordinates"]["for_{percent}"]')


def _control(detail: dict[str, Any]) -> str:
    mean, spread = (detail["rotated"][f"settled_{name}"]["for_90"] for name in ("mean", "spread"))
    return (
        f"For good, 90 % is reached by {detail['settled']['for_90']} coordinates, and by {mean:.1f} ± {spread:.1f} of "
        f"{detail['rotated']['rotations']} random bases, which are the control."
    )


SECTION = PageSection(
    name="coordinates",
    title="Coordinates",
    of="run",
    build=_build,
    charts={"bars": lambda: bars("contribution")},
    place=7,
)
