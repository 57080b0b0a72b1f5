"""What each generated token came from: accounts of all of them from one pass, as tables and as JSON."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from landed_jax.analysis.writes._write import describe
from landed_jax.files.json_text import json_text
from landed_jax.generation._generation import Generation
from landed_jax.processes import fetched, gathered
from landed_jax.prompts import Prompt
from landed_jax.provenance import Provenance
from landed_jax.report.account import RECORD, Account, account_of_place, check_finite, find_out
from landed_jax.report.document import run_document
from landed_jax.report.question import RunQuestion
from landed_jax.results.result import Result
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.table import Block, Cell, Column, Paragraph, Table
from landed_jax.tokens import Tokens, rows_of

_LOGIT = "logit: of the token, read at the column before it"
_DIFFERENCE = "ahead of: the likeliest other token, and by how much its logit is smaller"
_ERROR = "error: how far the landed contributions of all writes are from summing to the logit"
_WRITES = "largest writes: their landed contributions to the logit, σ held fixed; by size"


@dataclass(frozen=True, repr=False)
class GeneratedAccount:
    """What each token came from that was generated behind one prompt. It shows itself as a table.

    Attributes:
        generation: of all prompts.
        prompt: which one, counted from 0.
        accounts: of each generated token, in their order: what `Model.run` finds out of the tokens before it, asked for
            this one.
        top: how many writes are shown of each.
    """

    generation: Generation
    prompt: int
    accounts: list[Account]
    top: int = 3

    def to_dict(self) -> dict[str, Any]:
        """The object of ``landed run --generate N --json``, as plain values."""
        return generated_document(self)

    def to_json(self, indent: int | None = 2) -> str:
        """The text of ``landed run --generate N --json``; without an indent on one line."""
        return json_text(self.to_dict(), indent=indent)

    def __repr__(self) -> str:
        from landed_jax.tables.draw import text_of
        from landed_jax.tables.screen import standard_output

        return text_of(generated_report(self), standard_output())

    def _repr_html_(self) -> str:
        from landed_jax.tables.html import html_of

        return html_of(generated_report(self))


def account_of(generation: Generation, prompt: int, top: int) -> GeneratedAccount:
    """The account of each token generated behind one prompt, from one traced pass over all prompts and their tokens.

    The pass has the prompts and all that was generated in its columns, and reads each column before a generated token.
    """
    model, tokens = generation.model, generation.tokens
    count = max(map(len, generation.ids))
    first = tokens.ids.shape[1] - count
    # Interventions see the columns; without any, texts of about the same length share their programs.
    computed = tokens if generation.interventions else tokens.bucketed()
    padding = computed.ids.shape[1] - tokens.ids.shape[1]
    at = list(range(padding + first - 1, padding + first - 1 + count))
    dtype = generation.logits[prompt].dtype
    trace = model.trace(computed, record=RECORD, at=at, interventions=generation.interventions, dtype=dtype)
    # Behind a text that ended before others there is no token to ask for: any id stands there.
    targets: Any = np.asarray(tokens.ids)[:, first:]
    found = fetched(find_out(trace, targets, None)[1])
    logits, length = np.asarray(gathered(trace.logits)), len(generation.ids[prompt])
    check_finite(found[0].value[prompt, :length])
    row, own = rows_of(tokens)[prompt], first + padding - len(rows_of(generation.prompts)[prompt])
    accounts = []
    for place, token in enumerate(generation.ids[prompt]):
        before = row[: len(row) - length + place]
        asked = Prompt(generation.vocabulary.decode(before), before)
        question = RunQuestion(asked, token, None, len(before) - 1, generation.vocabulary)
        account = account_of_place(model, question, (prompt, place), own, found, logits, {}, top)
        accounts.append(_of_tokens_before(account))
    return GeneratedAccount(generation, prompt, accounts, top)


def _of_tokens_before(account: Account) -> Account:
    """The account without the tokens that came later, which had no part in it."""

    def cut(part: Any) -> Any:
        if isinstance(part, Provenance):
            columns = len(account.token_ids)
            tokens = Tokens(part.tokens.ids[:, :columns], part.tokens.mask[:, :columns])
            return dataclasses.replace(part, tokens=tokens)
        if not isinstance(part, Result):
            return part
        return dataclasses.replace(part, **{f.name: cut(getattr(part, f.name)) for f in dataclasses.fields(part)})

    own = {name: cut(getattr(account, name)) for name in ("attribution", "difference", "capped")}
    return dataclasses.replace(account, **own)


def generated_document(found: GeneratedAccount) -> dict[str, Any]:
    """The JSON object of ``landed run --generate``."""
    generation, number = found.generation, found.prompt
    prompt = rows_of(generation.prompts)[number]
    return {
        "model": generation.model.source,
        "prompt": generation.written[number],
        "tokens": found.accounts[0].tokens(),
        "token_ids": prompt,
        "temperature": generation.temperature,
        "seed": generation.seed,
        "text": generation.texts[number],
        "finish_reason": generation.finish_reasons[number],
        "generated": [_token_document(account, found.top) for account in found.accounts],
        "notes": list(generation.model.notes),
        "precision": found.accounts[0].precision,
    }


def _token_document(account: Account, top: int) -> dict[str, Any]:
    """One generated token: the fields of `landed run`'s object that are of the token alone."""
    whole = run_document(account, top)
    fields = ("logit", "sum_of_landed", "closure_error", "capped_logit", "runner_up", "top_writes")
    target = whole["prediction"]["target"]
    own = {"position": account.position + 1, "id": target["id"], "text": target["text"]}
    own |= {"probability": target["probability"], "rank": target["rank"]}
    return own | {field: whole[field] for field in fields if field in whole}


def generation_report(generation: Generation) -> list[Block]:
    """Every prompt with what was generated behind it."""
    source = generation.model.source
    blocks: list[Block] = [Paragraph([Name(source)])] if source else []
    for number in range(len(generation.ids)):
        blocks += _text(generation, number)
    return blocks


def _text(generation: Generation, number: int) -> list[Block]:
    count, reason = len(generation.ids[number]), generation.finish_reasons[number]
    ended = "and ended" if reason == "stop" else "and could have gone on"
    how = f", drawn at temperature {generation.temperature:g}, seed {generation.seed}" if generation.temperature else ""
    said = f"generated {count} token{'s' if count > 1 else ''}{how}, {ended}:"
    return [
        Paragraph([Passage(generation.written[number])]),
        Paragraph([said, Passage(generation.texts[number])], "bold"),
    ]


def generated_report(found: GeneratedAccount) -> list[Block]:
    """The text, then its tokens one a row."""
    source = found.generation.model.source
    named: list[Block] = [Paragraph([Name(source)])] if source else []
    return [*named, *_text(found.generation, found.prompt), _table(found)]


def _table(found: GeneratedAccount) -> Table:
    columns = [
        Column("at"),
        Column("token", left=True),
        Column("logit", group=1, legend=_LOGIT),
        Column("ahead of", left=True, group=1, legend=_DIFFERENCE),
        Column("by", group=1),
        Column("error", group=1, legend=_ERROR),
    ]
    if found.top > 0:
        columns.append(Column("largest writes", left=True, group=2, wrap=True, legend=_WRITES))
    rows = [_row(account, found.top) for account in found.accounts]
    return Table("Generated tokens, and what each came from", columns, rows, keys=2, elsewhere="--json")


def _row(account: Account, top: int) -> list[Cell]:
    token, shares, difference = account.token(account.attribution, "target"), account.attribution, account.difference
    other = None if difference is None else account.token(difference, "against")
    writes = ", ".join(f"{describe(row)} {row.landed:+.3f}" for row in shares.top(top))
    cells: list[Cell] = [
        str(account.position + 1),
        Quoted("" if token is None else token["text"]),
        f"{float(shares.value[0, 0]):.4f}",
        "" if other is None else Quoted(other["text"]),
        "" if difference is None else f"{float(difference.value[0, 0]):+.4f}",
        f"{float(shares.closure_error[0, 0]):.0e}",
    ]
    return [*cells, writes] if top > 0 else cells
