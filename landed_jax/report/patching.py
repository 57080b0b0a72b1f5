"""What `landed patch` says: heat maps of all patches, and the largest of them in a table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.patching._maps import heat_maps
from landed_jax.patching._patching import Patching
from landed_jax.report.question import RunQuestion
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.table import Block, Cell, Column, Paragraph, Table
from landed_jax.vocabulary import quoted

if TYPE_CHECKING:
    from landed_jax.cli.progress import Report
    from landed_jax.model import Model

_KINDS = {"attn_write": "attn", "mlp_write": "mlp", "attn_residual": "residual"}
_WORDS = {"attn": "attention", "mlp": "MLP", "head": "head"}
_VALUES = {
    "probability": "probability",
    "rank": "rank",
    "kl": "KL divergence from the clean prompt",
}
_DIRECTIONS = {
    "denoise": "Each patch is a run of the corrupted prompt with one value of the clean prompt's run in it.",
    "noise": "Each patch is a run of the clean prompt with one value of the corrupted prompt's run in it.",
}


@dataclass(frozen=True)
class Patch:
    """What `landed patch` is asked.

    Attributes:
        clean: with what is read of both prompts.
        measure, components, direction, attribution, steps: as the options.
    """

    clean: RunQuestion
    corrupted: RunQuestion
    measure: str
    components: str
    direction: str
    attribution: bool = False
    steps: int | None = None


def patched(model: "Model", asked: Patch, progress: "Report | None" = None) -> Patching:
    """The numbers.

    Raises:
        LandedError: for tokens that the measure is not about, a token against itself, prompts that do not align, values
            that are not finite, and a fraction of nothing.
    """
    from landed_jax.patching._activation_patching import activation_patching
    from landed_jax.patching._attribution_patching import attribution_patching

    prompts = [list(asked.clean.prompt.ids)], [list(asked.corrupted.prompt.ids)]
    how: dict[str, Any] = {
        "components": asked.components,
        "direction": asked.direction,
        "at": asked.clean.position,
    }
    measure = _measure(asked)
    if asked.attribution:
        found = attribution_patching(model, *prompts, measure, steps=asked.steps, **how)
    else:
        found = activation_patching(model, *prompts, measure, progress=progress, **how)
    _check_values(found, asked)
    if asked.measure == "recovered" and not bool(found.defined.all()):
        raise LandedError(
            f"The {_quantity(found, asked)} is nearly the same after both prompts ({_number(found.clean)} and "
            f"{_number(found.corrupted)}), so there is no fraction of it to recover: name another --target or "
            "--against, or take --measure logit."
        )
    return found


def _check_values(found: Patching, asked: Patch) -> None:
    """Refuse what makes every fraction undefined, whatever the prompts are."""
    if not all(np.isfinite(values).all() for values in (found.clean, found.corrupted)):
        raise LandedError(
            f"The model's values are not finite: the {_quantity(found, asked)} is {_number(found.clean)} after the "
            f"clean prompt and {_number(found.corrupted)} after the corrupted one. Its weights are not finite, or "
            "overflow on the way."
        )
    if found.target is not None and found.against is not None and int(found.target[0, 0]) == int(found.against[0, 0]):
        token = quoted(asked.clean.vocabulary.text(int(found.target[0, 0])))
        raise LandedError(
            f"Target and --against are the same token, {token}: their difference is 0. Name another --against, or a "
            "--target: without one it is the likeliest token after CLEAN."
        )


def _measure(asked: Patch) -> Any:
    from landed_jax.analysis.reads._questions import Logit
    from landed_jax.interventions._measures import Divergence, Probability, Rank

    target, against = asked.clean.target, asked.clean.against
    if asked.measure in ("recovered", "logit"):
        return None if target is None and against is None else Logit(target, against=against)
    if against is not None:
        raise LandedError("--against goes with --measure recovered or logit.")
    if asked.measure != "kl":
        return (Probability if asked.measure == "probability" else Rank)(target)
    if target is not None:
        raise LandedError("--measure kl is about all tokens: leave --target out.")
    return Divergence()


def _quantity(found: Patching, asked: Patch) -> str:
    return _VALUES.get(asked.measure, "logit" if found.against is None else "logit difference")


def _number(values: Any) -> str:
    return _shown(np.asarray(values)[0, 0].item(), "")


def patching_document(found: Patching, asked: Patch, model: str) -> dict[str, Any]:
    """The object of ``landed patch --json``: patches from the largest effect to the smallest."""
    return {
        "model": model,
        "method": found.method,
        "direction": found.direction,
        "components": asked.components,
        "measure": asked.measure,
        "position": asked.clean.position,
        "target": _token(found.target, asked.clean),
        "against": _token(found.against, asked.clean),
        "clean": _prompt(asked.clean, found.clean),
        "corrupted": _prompt(asked.corrupted, found.corrupted),
        "cells": _cells(found),
    }


def _token(ids: Any, asked: RunQuestion) -> dict[str, Any] | None:
    return None if ids is None else {"id": int(ids[0, 0]), "text": asked.vocabulary.text(int(ids[0, 0]))}


def _prompt(asked: RunQuestion, value: Any) -> dict[str, Any]:
    tokens = [asked.vocabulary.text(token) for token in asked.prompt.ids]
    value = np.asarray(value)[0, 0].item()
    return {"prompt": asked.prompt.text, "tokens": tokens, "token_ids": list(asked.prompt.ids), "value": value}


def _cells(found: Patching) -> list[dict[str, Any]]:
    defined = bool(found.defined[0, 0])
    numbers = {name: np.asarray(getattr(found, name))[..., 0, 0] for name in ("effect", "value", "recovered")}
    rows = []
    for flat in np.argsort(-np.abs(numbers["effect"]), axis=None, kind="stable"):
        place = np.unravel_index(flat, numbers["effect"].shape)
        of = {axis: values[index] for (axis, values), index in zip(found.labels, place, strict=True)}
        kind = _KINDS[of["hook_point"]] if "hook_point" in of else "head"
        row = {"kind": kind, "layer": of["layer"], "index": of.get("head"), "position": of.get("column")}
        row |= {name: values[place].item() for name, values in numbers.items()}
        rows.append(row if defined else row | {"recovered": None})
    return rows


def patching_report(found: Patching, asked: Patch, document: dict[str, Any], top: int) -> list[Block]:
    """Heat maps and a table, under both prompts and what was read of them."""
    shown = "fraction" if asked.measure == "recovered" else "effect"
    blocks: list[Block] = [Paragraph([Name(document["model"])])] if document["model"] else []
    blocks += [
        Paragraph(["clean:", Passage(document["clean"]["prompt"])]),
        Paragraph(["corrupted:", Passage(document["corrupted"]["prompt"])]),
        Paragraph(_values(found, asked, document), "bold"),
        *heat_maps(found, shown, measure=_quantity(found, asked)).blocks(),
    ]
    if top:
        blocks.append(_table(found, asked, document, top))
    return blocks


def _values(found: Patching, asked: Patch, document: dict[str, Any]) -> list[Item]:
    target, against, quantity = document["target"], document["against"], _quantity(found, asked)
    items: list[Item] = []
    if target is not None:
        items = [Quoted(target["text"], after=":" if against is None else "")]
    if against is not None:
        items += ["over", Quoted(against["text"], after=":")]
    where = f"{quantity} at position {asked.clean.position}:"
    return [*items, where, f"clean {_number(found.clean)}, corrupted {_number(found.corrupted)}"]


def _table(found: Patching, asked: Patch, document: dict[str, Any], top: int) -> Table:
    positions = asked.components == "positions"
    cells = [cell for cell in document["cells"] if cell["kind"] != "residual"]  # which would be all of the largest
    columns = [Column("patched", left=True)]
    columns += [Column("at token", left=True)] if positions else []
    columns += [Column("value"), Column("effect", legend="effect: value less that of the run without the patch")]
    fraction, part = cells[0]["recovered"] is not None, "recovered" if found.direction == "denoise" else "lost"
    if fraction:
        columns.append(Column(part, drop=1, legend=_FRACTIONS[part]))
    rows: list[list[Cell]] = []
    for cell in cells[:top]:
        row: list[Cell] = [_name(cell)]
        if positions:
            row.append(Quoted(document["clean"]["tokens"][cell["position"]], f"{cell['position']} "))
        row += [_shown(cell["value"], ""), _shown(cell["effect"], "+")]
        row += [f"{cell['recovered'] if part == 'recovered' else 1 - cell['recovered']:.1%}"] if fraction else []
        rows.append(row)
    notes = [_DIRECTIONS[found.direction], "A patch may bring back what another does too: effects do not add up."]
    if asked.attribution:
        way = "one gradient" if asked.steps is None else f"the mean gradient of {asked.steps} steps"
        notes.append(f"Attribution patching: estimated to first order by {way}, and no patched run.")
    title = f"The {len(rows)} largest effects of {len(cells)} {'writes' if positions else 'heads'}"
    return Table(title, columns, rows, keys=2 if positions else 1, notes=notes, elsewhere="--json")


_FRACTIONS = {
    "recovered": "recovered: (value − corrupted) / (clean − corrupted), 0 as the corrupted prompt, 100% as the clean",
    "lost": "lost: (clean − value) / (clean − corrupted), 0 as the clean prompt, 100% as the corrupted",
}


def _shown(value: float, sign: str) -> str:
    """A number with four digits; a whole one, such as a rank, without."""
    return f"{value:{sign}d}" if isinstance(value, int) else f"{value:{sign}.4f}"


def _name(cell: dict[str, Any]) -> str:
    index = "" if cell["index"] is None else f".{cell['index']}"
    return f"{_WORDS[cell['kind']]} {cell['layer']}{index}"
