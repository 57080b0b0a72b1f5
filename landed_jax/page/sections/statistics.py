"""A study of many prompts: what became of them, and the means of every variable."""

import itertools
from typing import Any

from landed_jax.page._blocks import Block, Built, Chart, Column, Facts, Frame, TableOf
from landed_jax.page._charts import bars
from landed_jax.page._words import largest_said
from landed_jax.page.sections.section import Document, PageSection
from landed_jax.printable import printable

_MOST = 2000  # cells of one variable, those with the largest means
_DRAWN = 20
_MEAN = ".mean"
_TITLES = {"mean_low": "95 % from", "mean_high": "to"}
_OTHERS = ("count", "mean_low", "mean_high", "deviation", "minimum", "maximum")


def _build(document: Document) -> Built:
    manifest = document["manifest"]
    blocks: list[Block] = [
        Facts(
            [
                ("Prompts", document["prompts"], "count", '["prompts"]'),
                ("Without numbers", sum(document["without_numbers"].values()), "count", ""),
                ("Model", printable(manifest["model"]["source"]), "text", ""),
            ]
        )
    ]
    frames: dict[str, Frame] = {}
    statistics = document["statistics"]
    for name in statistics:
        if not name.endswith(_MEAN):
            continue
        variable = name.removesuffix(_MEAN)
        found = _cells(document, variable)
        if not found:
            continue
        others = [other for other in _OTHERS if f"{variable}.{other}" in statistics]
        columns = [Column("name", " ".join(statistics[name]["dims"]) or "cell", "text"), Column("mean", "mean")]
        columns += [Column(other, _TITLES.get(other, other), "count" if other == "count" else "significant") for other in others]
        paths = {"mean": f'["statistics"]["{name}"]["values"]{{at}}'}
        paths |= {other: f'["statistics"]["{variable}.{other}"]["values"]{{at}}' for other in others}
        frames[variable] = Frame.of(found, "{cell}", paths)
        frames[f"{variable}/drawn"] = Frame.of(found[:_DRAWN], "{cell}", paths)
        said = largest_said(found, "mean", lambda row: row["cell"])
        title = f"{variable}: the {len(found[:_DRAWN])} largest means"
        blocks.append(Chart("bars", f"{variable}/drawn", title, said, columns, [("mean", "mean")]))
        if len(found) > _DRAWN:
            blocks.append(TableOf(variable, f"{variable}: means of {len(found)} cells, the largest first", columns))
    return Built(blocks, frames)


def _cells(document: Document, variable: str) -> list[dict[str, Any]]:
    """The cells that have a mean, from the largest mean to the smallest."""
    statistics = document["statistics"]
    part = statistics[f"{variable}{_MEAN}"]
    values, rows = part["values"], []
    for place in itertools.product(*map(range, _shape(values, len(part["dims"])))):
        mean = _at(values, place)
        if mean is not None:
            labels = [_label(document, dim, index) for dim, index in zip(part["dims"], place, strict=True)]
            row = {"cell": " ".join(labels) or "all", "at": "".join(f"[{index}]" for index in place), "mean": mean}
            for other in _OTHERS:
                if f"{variable}.{other}" in statistics:
                    row[other] = _at(statistics[f"{variable}.{other}"]["values"], place)
            rows.append(row)
    return sorted(rows, key=lambda row: -abs(row["mean"]))[:_MOST]


def _shape(values: Any, dims: int) -> list[int]:
    found = []
    for _ in range(dims):
        found.append(len(values))
        values = values[0] if values else []
    return found


def _at(values: Any, place: tuple[int, ...]) -> Any:
    for index in place:
        values = values[index]
    return values


def _label(document: Document, dim: str, index: int) -> str:
    known = document["coordinates"].get(dim)
    return printable(str(index if known is None else known[index]))


SECTION = PageSection(
    name="statistics", title="Statistics", of="study", build=_build, charts={"bars": lambda: bars("mean")}
)
