"""A generated token: where it stands in the text, its value, and all tokens of the text in a table."""

from typing import Any

from landed_jax.page._blocks import Block, Built, Column, Facts, Frame, TableOf, TokenStrip
from landed_jax.page._words import quoted
from landed_jax.page.sections.section import Document, PageSection
from landed_jax.printable import printable

_COLUMNS = (
    Column("name", "token", "text"),
    Column("position", "position", "count"),
    Column("logit", "logit"),
    Column("probability", "probability", "percent"),
    Column("rank", "rank", "count", "0 is the likeliest"),
    Column("other", "ahead of", "text", "the likeliest other token"),
    Column("difference", "by"),
    Column("closure_error", "closure error", "error"),
)


def _build(document: Document) -> Built:
    texts = [quoted(text) for text in document["tokens"]]
    every = [_row(place, token) for place, token in enumerate(document["generated"])]
    start = document["start"]
    facts: list[tuple[str, Any, str, str]] = [
        (f"The logit of {quoted(document['target']['text'])}", document["logit"], "number", f'{start}["logit"]'),
        ("Sum of all landed contributions", document["sum_of_landed"], "number", f'{start}["sum_of_landed"]'),
        ("Closure error: |sum − value|", document["closure_error"], "error", f'{start}["closure_error"]'),
        ("Model", f"{printable(document['model'] or 'from parameters')}, {document['precision']}", "text", ""),
    ]
    caption = "The prompt, and what was generated behind it."
    tokens = Frame({"position": list(range(len(texts))), "token": texts, "share": [None] * len(texts)}, "{token}")
    paths = {name: f'["generated"][{{place}}]["{name}"]' for name in ("logit", "probability", "rank", "closure_error")}
    paths["difference"] = '["generated"][{place}]["runner_up"]["difference"]'
    strip = TokenStrip("tokens", "share", texts, document["column"], "", caption)
    blocks: list[Block] = [Facts(facts), strip, TableOf("every", "The generated tokens", _COLUMNS)]
    return Built(blocks, {"tokens": tokens, "every": Frame.of(every, "{token}", paths)})


def _row(place: int, token: dict[str, Any]) -> dict[str, Any]:
    other = token.get("runner_up")
    return {
        "token": quoted(token["text"]),
        "place": place,
        "other": other and quoted(other["text"]),
        "difference": other and other["difference"],
        **{name: token[name] for name in ("position", "logit", "probability", "rank", "closure_error")},
    }


SECTION = PageSection(name="generated", title="Generated tokens", of="generate", build=_build, place=1)
