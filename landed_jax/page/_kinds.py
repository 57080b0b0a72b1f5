"""The kinds of results that a page shows: how a document is recognised, named, and made again."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landed_jax.page._words import quoted, token
from landed_jax.printable import printable

Made = Sequence[tuple[str, str]]
_LONGEST = 90  # characters of a prompt among others
_SECTIONS = ("by_source", "effects", "coordinate_detail", "lens", "detail")  # fields, named as `landed run`'s sections


@dataclass(frozen=True)
class Kind:
    """A kind of result.

    Attributes:
        name: the variable of its JSON in the Python that the page shows.
        words: what it is called where a page has several kinds.
        fields: that its documents have, and no other kind's.
        choice: what tells its results from each other, by name, in the order in which it is chosen.
        made: how a document's numbers are made: sentences, each with a command or Python.
    """

    name: str
    words: str
    fields: frozenset[str]
    choice: Callable[[Mapping[str, Any]], dict[str, str]]
    made: Callable[[Mapping[str, Any]], Made]

    @property
    def command(self) -> str:
        """The command whose ``--json`` it is."""
        return "run --generate" if self.name == "generate" else self.name


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _asked(document: Mapping[str, Any]) -> str:
    target, against = token(document, "target"), token(document, "against")
    return (target or "all tokens") + (f" over {against}" if against else "")


def _run_choice(document: Mapping[str, Any]) -> dict[str, str]:
    position = document["position"]
    return {
        "Prompt": f"{_short(document['prompt'])}",
        "Position": f"{position} {quoted(document['tokens'][position])}",
        "Target": _asked(document),
    }


def _options(document: Mapping[str, Any]) -> list[str]:
    """The options that ask the same question of the same token ids."""
    found = _named_model(document)
    for name in ("target", "against"):
        if document.get(name) is not None:
            found += [f"--{name}", f"#{document[name]['id']}"]
    return [*found, "--position", str(document["position"])]


def _named_model(document: Mapping[str, Any]) -> list[str]:
    return [] if document["model"] in ("bundled", "") else ["--model", document["model"]]


def _precision(document: Mapping[str, Any]) -> list[str]:
    return [] if document["precision"] == "float32" else ["--precision", document["precision"]]


def _ids(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def _run_made(document: Mapping[str, Any]) -> Made:
    names = ["coordinates" if field == "coordinate_detail" else field for field in _SECTIONS if field in document]
    top = len(document["top_writes"])
    words = ["landed", "run", "--ids", _ids(document["token_ids"]), *_options(document), "--top", str(top)]
    words += _precision(document)
    words += [f"--{name.replace('_', '-')}" for name in names] + ["--json", "run.json"]
    how = f", precision={document['precision']!r}" if _precision(document) else ""
    asked = "".join(
        f", {name}={'#' + str(document[name]['id'])!r}" for name in ("target", "against") if document[name] is not None
    )
    python = (
        "import landed_jax as landed\n"
        f"model = landed.load({document['model']!r}{how})\n"
        f"ids = {list(document['token_ids'])}\n"
        f"run = model.run(ids{asked}, position={document['position']}, top={top}, sections={names}).to_dict()"
    )
    made = [
        ("All numbers of this account are fields of one JSON document:", shlex.join(words)),
        ("The same in Python, in which every line that this page shows can be read:", python),
    ]
    if document.get("notes"):
        made.append(
            (
                "The model was read with options that these commands leave out; give them again:",
                "\n".join(document["notes"]),
            )
        )
    if "ablation" in document:
        made += _ablate_made(document["ablation"])
    return made


def _generate_made(document: Mapping[str, Any]) -> Made:
    top, drawn = len(document["top_writes"]), document["temperature"]
    words = ["landed", "run", "--ids", _ids(document["token_ids"])]
    words += [*_named_model(document), "--generate", str(len(document["generated"])), "--top", str(top)]
    words += ["--temperature", str(drawn), "--seed", str(document["seed"])] if drawn else []
    words += _precision(document)
    made = "The JSON of this result is written by:"
    return [(made, shlex.join([*words, "--json", "generate.json"])), _opened("generate")]


def _ablate_made(document: Mapping[str, Any]) -> Made:
    parts = [] if all(row["kind"] == "head" for row in document["components"]) else ["--components", "parts"]
    words = ["landed", "ablate", "--ids", _ids(document["token_ids"]), *_options(document), *parts]
    return [("Total effects are measured by:", shlex.join([*words, "--json", "ablate.json"])), _opened("ablate")]


def _opened(name: str) -> tuple[str, str]:
    return ("Then in Python:", f'import json\n{name} = json.load(open("{name}.json"))')


def _patch_made(document: Mapping[str, Any]) -> Made:
    prompts = [_ids(document[name]["token_ids"]) for name in ("clean", "corrupted")]
    words = ["landed", "patch", "--ids", *prompts, *_options(document)]
    words += ["--components", document["components"], "--direction", document["direction"]]
    words += ["--measure", document["measure"]]
    if document["method"] != "activation patching":
        words.append("--attribution")
    made = "The JSON of this result is written by (steps of integrated gradients are not kept in it):"
    title = "The JSON of this result is written by:" if "--attribution" not in words else made
    return [(title, shlex.join([*words, "--json", "patch.json"])), _opened("patch")]


def _compare_made(document: Mapping[str, Any]) -> Made:
    words = ["landed", "compare", *_named_model(document)]
    for task in document["tasks"]:
        words += ["--task", task["task"]]
    levels = [level for task in document["tasks"] for level in task["levels"]]
    for option in ("level", "ablation"):
        for value in dict.fromkeys(level[option] for level in levels):
            words += [f"--{option}", value]
    settings = document["settings"]
    for option in ("prompts", "circuit_prompts", "neurons", "seed"):
        words += [f"--{option.replace('_', '-')}", str(settings[option])]
    return [
        ("The JSON of this result is written by:", shlex.join([*words, "--json", "compare.json"])),
        _opened("compare"),
    ]


def _study_made(document: Mapping[str, Any]) -> Made:
    return [
        ("The study was made by (add --json study.json for its JSON):", printable(document["manifest"]["command"])),
        _opened("study"),
    ]


def _study_choice(document: Mapping[str, Any]) -> dict[str, str]:
    manifest = document["manifest"]
    return {
        "Study": _short(f"{manifest['model']['source']}: {document['prompts']:,} of {manifest['prompts']['source']}")
    }


KINDS = (
    Kind("run", "account of a prompt", frozenset({"top_writes", "closure_error", "layers"}), _run_choice, _run_made),
    Kind(
        "generate",
        "generated tokens",
        frozenset({"generated", "finish_reason"}),
        lambda document: {
            "Prompt": _short(document["prompt"]),
            "Token": f"{document['column']} {quoted(document['target']['text'])}",
        },
        _generate_made,
    ),
    Kind("ablate", "total effects", frozenset({"ablation", "components"}), _run_choice, _ablate_made),
    Kind(
        "patch",
        "activation patching",
        frozenset({"clean", "corrupted", "cells"}),
        lambda document: {
            "Prompt": _short(f"{document['clean']['prompt']} ← {document['corrupted']['prompt']}"),
            "Target": _asked(document),
            "Patched": f"{document['components']}, {document['direction']}, {document['measure']}",
        },
        _patch_made,
    ),
    Kind(
        "compare",
        "methods compared",
        frozenset({"tasks", "settings"}),
        lambda document: {"Comparison": _short(document["model"] or "a model")},
        _compare_made,
    ),
    Kind("study", "study of many prompts", frozenset({"statistics", "manifest"}), _study_choice, _study_made),
)
"""All kinds, in the order in which a page shows them."""


def kind_of(document: Mapping[str, Any]) -> Kind | None:
    """The kind of a document; None where it is of none.

    >>> found = kind_of({"clean": {}, "corrupted": {}, "cells": []})
    >>> found and found.name
    'patch'
    """
    return next((kind for kind in KINDS if kind.fields <= document.keys()), None)
