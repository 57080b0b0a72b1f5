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
_NAME = Column("name", "variable", "text")
_NUMBERS = (
    Column("mean", "mean", "significant"),
    Column("mean_low", "95 % from", "significant"),
    Column("mean_high", "to", "significant"),
    Column("deviation", "deviation", "significant"),
    Column("minimum", "least", "significant"),
    Column("maximum", "largest", "significant"),
    Column("count", "samples", "count"),
)
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
    alone: list[dict[str, Any]] = []
    statistics = document["statistics"]
    for name in statistics:
        variable = name.removesuffix(_MEAN)
        found = _cells(document, variable) if name.endswith(_MEAN) else []
        if not statistics[name]["dims"]:
            alone += [row | {"variable": variable} for row in found]
        elif found:
            blocks += _shown(variable, found, statistics[name]["dims"], frames)
    if alone:
        frames["alone"] = Frame.of(alone, "{variable}", _paths("{variable}"))
        blocks.insert(1, TableOf("alone", "Variables of one number a prompt", [_NAME, *_NUMBERS]))
    return Built(blocks, frames)


def _shown(variable: str, found: list[dict[str, Any]], dims: list[str], frames: dict[str, Frame]) -> list[Block]:
    """A variable's largest means as bars, and all of them in a table."""
    columns = [Column("name", " ".join(dims), "text"), *_NUMBERS]
    label = " ".join(f"{dim} {{{place}}}" for place, dim in enumerate(dims))
    frames[variable] = Frame.of(found, label, _paths(variable))
    frames[f"{variable}/drawn"] = Frame.of(found[:_DRAWN], label, _paths(variable))
    said = largest_said(found, "mean", lambda row: row["cell"])
    title = f"{variable}: the {len(found[:_DRAWN])} largest means of {len(found)}"
    blocks: list[Block] = [Chart("bars", f"{variable}/drawn", title, said, columns, [("mean", "mean")])]
    if len(found) > _DRAWN:
        blocks.append(TableOf(variable, f"{variable}: means of {len(found)} cells, the largest first", columns))
    return blocks


def _paths(variable: str) -> dict[str, str]:
    return {name: f'["statistics"]["{variable}.{name}"]["values"]{{at}}' for name in ("mean", *_OTHERS)}


def _cells(document: Document, variable: str) -> list[dict[str, Any]]:
    """The cells that have a mean, from the largest mean to the smallest."""
    statistics = document["statistics"]
    part = statistics[f"{variable}{_MEAN}"]
    values, rows = part["values"], []
    for place in itertools.product(*map(range, _shape(values, len(part["dims"])))):
        mean = _at(values, place)
        if mean is not None:
            labels = [_label(document, dim, index) for dim, index in zip(part["dims"], place, strict=True)]
            row = {str(i): label for i, label in enumerate(labels)}
            row |= {"cell": " ".join(labels), "at": "".join(f"[{index}]" for index in place), "mean": mean}
            rows.append(row | {other: _at(statistics[f"{variable}.{other}"]["values"], place) for other in _OTHERS})
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
