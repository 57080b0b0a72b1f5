"""The page's data: every result with its sections, and what tells the results from each other."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from landed_jax.errors import LandedError, cut
from landed_jax.page._blocks import Built
from landed_jax.page._kinds import KINDS, Kind, kind_of
from landed_jax.page._words import quoted, value_name
from landed_jax.page.sections import page_sections
from landed_jax.printable import printable

Document = Mapping[str, Any]
_LONGEST = 300  # characters of a prompt in a title
_OF_PROMPTS = ("run", "generate", "ablate")
_SAME = ("model", "token_ids", "position", "target", "against")


def page_data(documents: Sequence[Document]) -> dict[str, Any]:
    """All that the page's script shows, as plain values.

    Raises:
        LandedError: for documents that are of no kind, or lack a field of theirs.
    """
    joined = _with_sweeps([one for document in documents for one in _each_token(document)])
    results = [_result(document) for document in joined]
    kinds = {result["kind"] for result in results}
    if len(kinds) > 1:
        for result in results:
            words = next(kind.words for kind in KINDS if kind.name == result["kind"])
            result["choice"] = {"Result": words} | result["choice"]
    _name_models(joined, results)
    _tell_apart(results)
    names = dict.fromkeys(name for result in results for name in result["choice"])
    charts = {
        f"{section.of}/{section.name}/{name}": make().to_dict()
        for section in page_sections()
        if section.of in kinds
        for name, make in section.charts.items()
    }
    return {"choices": list(names), "charts": charts, "results": results}


def _each_token(document: Document) -> list[Document]:
    """Of generated tokens one document each; any other document as it is."""
    if _kind(document).name != "generate":
        return [document]
    try:
        texts = [*document["tokens"], *(token["text"] for token in document["generated"])]
        return [
            {
                **document,
                **token,
                "tokens": texts,
                "target": {"id": token["id"], "text": token["text"]},
                "against": None,
                "column": token["position"],
                "start": f'["generated"][{place}]',
            }
            for place, token in enumerate(document["generated"])
        ]
    except (KeyError, TypeError) as error:
        raise _unlike("generate", error) from error


def _unlike(kind: str, error: Exception) -> LandedError:
    said = f"it has no {error.args[0]}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
    return LandedError(f"A document of kind {kind} is not as its command writes it ({said}): write it again.")


def _with_sweeps(documents: Sequence[Document]) -> list[Document]:
    """Total effects join the accounts that ask the same; other sweeps stand alone."""
    sweeps = [document for document in documents if _kind(document).name == "ablate"]
    used: list[int] = []
    found: list[Document] = []
    for document in documents:
        if _kind(document).name == "run":
            for sweep in sweeps:
                if all(sweep.get(name) == document.get(name) for name in _SAME):
                    used.append(id(sweep))
                    document = {**document, "ablation": sweep}
        found.append(document)
    return [document for document in found if id(document) not in used]


def _kind(document: Document) -> Kind:
    kind = kind_of(document)
    if kind is None:
        names = ", ".join(kind.name for kind in KINDS)
        raise LandedError(f"A page shows documents of {names}: this one has the fields {', '.join(document)}.")
    return kind


def _result(document: Document) -> dict[str, Any]:
    kind = _kind(document)
    try:
        sections = [
            {"name": section.name, "title": section.title, **_plain(built)}
            for section in page_sections()
            if section.of == kind.name and (built := section.build(document)) is not None
        ]
        is_prompt = kind.name in _OF_PROMPTS
        return {
            "kind": kind.name,
            "variable": kind.name,
            "title": _title(document, kind),
            "prompt": document["prompt"] if is_prompt else None,
            "position": document["position"] if is_prompt else None,
            "choice": kind.choice(document),
            "made": kind.made(document),
            "sections": sections,
        }
    # What a file's fields lack, or hold of another type, comes up wherever they are first used.
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _unlike(kind.name, error) from error


def _title(document: Document, kind: Kind) -> str:
    if kind.name not in _OF_PROMPTS:
        return printable(", ".join(kind.choice(document).values()))
    what = value_name(document)
    if kind.name == "generate":
        what += f" as the token at position {document['column']}, generated"
    return f"{what[0].upper()}{what[1:]} after {quoted(cut(document['prompt'], _LONGEST))}"


def _plain(built: Built) -> dict[str, Any]:
    return {
        "blocks": [dataclasses.asdict(block) for block in built.blocks],
        "frames": {name: dataclasses.asdict(frame) for name, frame in built.frames.items()},
    }


def _name_models(documents: Sequence[Document], results: Sequence[dict[str, Any]]) -> None:
    """Results of several models, precisions or draws say whose they are."""
    ways = (
        ("Model", lambda one: f"{printable(one['model'] or 'from parameters')}, {one.get('precision', 'float32')}"),
        ("Drawn", lambda one: f"temperature {one['temperature']}, seed {one['seed']}" if "seed" in one else None),
    )
    for name, said in ways:
        texts = [
            said(one) if result["kind"] in _OF_PROMPTS else None for one, result in zip(documents, results, strict=True)
        ]
        if len({text for text in texts if text is not None}) > 1:
            for result, text in zip(results, texts, strict=True):
                result["choice"] = ({} if text is None else {name: text}) | result["choice"]


def _tell_apart(results: Sequence[dict[str, Any]]) -> None:
    """Number the results that agree in every choice."""
    same = Counter(tuple(result["choice"].items()) for result in results)
    seen: Counter[Any] = Counter()
    for result in results:
        key = tuple(result["choice"].items())
        if same[key] > 1:
            seen[key] += 1
            result["choice"] = result["choice"] | {"Number": str(seen[key])}
