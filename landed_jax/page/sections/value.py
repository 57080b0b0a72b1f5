"""The prompt, its tokens coloured by what heads took from them; the value, and how far the sum is from it."""

from typing import Any

from landed_jax.page._blocks import Block, Built, Column, Facts, Frame, TableOf, Text, TokenStrip
from landed_jax.page._words import quoted, value_name
from landed_jax.page.sections.section import Document, PageSection
from landed_jax.printable import printable

_COLUMNS = (
    Column("token", "token", "text"),
    Column("logit", "logit"),
    Column("probability", "probability", "percent"),
    Column("log_probability", "log-probability", "number", "in nats"),
    Column("rank", "rank", "count", "0 is the likeliest"),
)


def _build(document: Document) -> Built:
    texts = [quoted(text) for text in document["tokens"]]
    sources = document.get("by_source")
    shares = sources["tokens"] if sources else [None] * len(texts)
    logit = document["logit"] or None
    tokens = Frame(
        {
            "position": list(range(len(texts))),
            "token": texts,
            "landed": shares,
            "share": [None if part is None or logit is None else part / abs(logit) for part in shares],
        },
        "{token} at {position}",
        {"landed": '["by_source"]["tokens"][{position}]'},
    )
    what = value_name(document)
    caption = (
        f"Each token is coloured by the part of {what} that all heads together took from it, as a share of the value's "
        "size; the embedding, MLPs and biases are of the position itself and colour nothing."
        if sources
        else "Tokens are coloured where the result has --by-source."
    )
    prediction = document["prediction"]
    likeliest = Frame.of(
        [{"token": quoted(row["text"]), "place": i} | row for i, row in enumerate(prediction["likeliest"])],
        "{token}",
        {
            name: f'["prediction"]["likeliest"][{{place}}]["{name}"]'
            for name in ("logit", "probability", "log_probability", "rank")
        },
    )
    strip = TokenStrip("tokens", "share", texts, document["position"], quoted(document["target"]["text"]), caption)
    blocks: list[Block] = [Facts(_facts(document, what)), strip]
    blocks += [Text(printable(note)) for note in document.get("notes", ())]
    blocks.append(TableOf("likeliest", "The likeliest next tokens", _COLUMNS))
    return Built(blocks, {"tokens": tokens, "likeliest": likeliest})


def _facts(document: Document, what: str) -> list[tuple[str, Any, str, str]]:
    facts: list[tuple[str, Any, str, str]] = [
        (what[0].upper() + what[1:], document["logit"], "number", '["logit"]'),
        ("Sum of all landed contributions", document["sum_of_landed"], "number", '["sum_of_landed"]'),
        ("Closure error: |sum − value|", document["closure_error"], "error", '["closure_error"]'),
    ]
    if "capped_logit" in document:
        facts.append(("After the model's soft-cap", document["capped_logit"], "number", '["capped_logit"]'))
    other = document["runner_up"]
    if other is not None:
        title = f"Difference to {quoted(other['text'])}, the likeliest other token"
        facts.append((title, other["difference"], "number", '["runner_up"]["difference"]'))
    facts.append(("Model", f"{printable(document['model'] or 'from parameters')}, {document['precision']}", "text", ""))
    facts.append(("Position", f"{document['position']} (0 to {len(document['tokens']) - 1})", "text", ""))
    return facts


SECTION = PageSection(name="value", title="The value", of="run", build=_build, place=1)
