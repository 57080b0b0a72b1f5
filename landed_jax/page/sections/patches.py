"""Activation patching: every patch of a result of `landed patch`."""

from typing import Any

from landed_jax.page._blocks import Block, Built, Chart, Column, Facts, Frame, TableOf, Text
from landed_jax.page._charts import bars, cells
from landed_jax.page._words import largest_said, quoted, token, write_name
from landed_jax.page.sections.section import Document, PageSection
from landed_jax.printable import printable

_DRAWN = 24
_KINDS = {"residual": "the stream", "attn": "attention", "mlp": "MLPs", "head": "heads"}
_COLUMNS = (
    Column("name", "patched", "text"),
    Column("value", "value", "number", "of the patched run"),
    Column("effect", "effect", "number", "value less that of the run without the patch"),
    Column("recovered", "recovered", "percent", "0 as the corrupted prompt, 100 % as the clean one"),
)
_WAYS = {
    "denoise": "Each patch is a run of the corrupted prompt with one value of the clean prompt's run in it.",
    "noise": "Each patch is a run of the clean prompt with one value of the corrupted prompt's run in it.",
}


def _build(document: Document) -> Built:
    rows = [_row(place, cell, document) for place, cell in enumerate(document["cells"])]
    writes = [row for row in rows if row["kind"] != "residual"][:_DRAWN]
    paths = {name: f'["cells"][{{place}}]["{name}"]' for name in ("value", "effect", "recovered")}
    frames = {
        "cells": Frame.of(rows, "{component}", paths),
        "drawn": Frame.of(writes, "{component}", paths),
    }
    measures = [("effect", "effect"), ("value", "value")]
    if all(row["recovered"] is not None for row in rows):
        measures.insert(0, ("recovered", "part recovered"))
    about = f"{document['method']}, {document['direction']}"
    maps: list[Block] = []
    for kind, words in _KINDS.items():
        some = [row for row in rows if row["kind"] == kind]
        if some:
            some.sort(key=lambda row: (row["layer"], row["across"]))
            frames[kind] = Frame.of(some, "{component}", paths)
            said = largest_said(some, "effect", lambda row: row["component"])
            chart = "heads" if kind == "head" else "positions"
            maps.append(Chart(chart, kind, f"Patches of {words}: {about}", said, _COLUMNS, measures))
    said = largest_said(writes, "effect", lambda row: row["component"])
    blocks: list[Block] = [
        Facts(_facts(document)),
        Text(_WAYS[document["direction"]] + " A patch may bring back what another does too: effects do not add up."),
        *maps,
        Chart("bars", "drawn", f"The {len(writes)} largest effects", said, _COLUMNS, [("effect", "effect")]),
        TableOf("cells", f"All {len(rows)} patches", _COLUMNS),
    ]
    return Built(blocks, frames)


def _row(place: int, cell: dict[str, Any], document: Document) -> dict[str, Any]:
    component, at = write_name(cell["kind"], cell["layer"], cell["index"]), cell["position"]
    where = None if at is None else f"{at} {quoted(document['clean']['tokens'][at])}"
    return {
        "component": component if where is None else f"{component} at {where}",
        "place": place,
        "kind": cell["kind"],
        "layer": cell["layer"],
        "across": cell["index"] if at is None else at,
        "token": where,
        **{name: cell[name] for name in ("value", "effect", "recovered")},
    }


def _facts(document: Document) -> list[tuple[str, Any, str, str]]:
    target, against = token(document, "target"), token(document, "against")
    measure = {"recovered": "logit", "kl": "KL divergence"}.get(document["measure"], str(document["measure"]))
    what = measure + (f" of {target}" if target else "") + (f" over {against}" if against else "")
    found: list[tuple[str, Any, str, str]] = []
    for name in ("clean", "corrupted"):
        found.append((f"The {name} prompt", printable(document[name]["prompt"]), "text", ""))
        found.append((f"Its {what}", document[name]["value"], "number", f'["{name}"]["value"]'))
    return [*found, ("Model", printable(document["model"]), "text", "")]


SECTION = PageSection(
    name="patches",
    title="Patches",
    of="patch",
    build=_build,
    charts={
        "positions": lambda: cells("token", "layer", "position", "layer", turned=True),
        "heads": lambda: cells("across", "layer", "head", "layer"),
        "bars": lambda: bars("effect"),
    },
)
