"""What was read: the prompt, the target, its logit, and how exactly the parts sum to it."""

from typing import Any

from landed_jax.report.account import Account
from landed_jax.report.numbers import chance, within
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.table import Paragraph


def headline(account: Account) -> list[Paragraph]:
    """The prompt, the value with its closure error, the runner-up, and what the model predicts."""
    shares, tokens = account.attribution, account.tokens()
    target, against = account.token(shares, "target"), account.token(shares, "against")
    parts = [Paragraph([*([Name(account.model)] if account.model else []), Passage(account.prompt)])]
    if account.position != len(tokens) - 1:
        parts.append(Paragraph([f"read at position {account.position}, after", Quoted(tokens[account.position])]))
    value, error = float(shares.value[0, 0]), float(shares.closure_error[0, 0])
    name = "logit" if against is None else "logit difference"
    asked: list[Item] = [_quoted(target, ":")] if against is None else [_quoted(target), "over", _quoted(against, ":")]
    after = "" if account.capped is None else f" ({float(account.capped.value[0, 0]):.4f} after the cap)"
    parts.append(Paragraph([*asked, f"{name} {value:.4f}{after}, the writes sum to it {within(error)}"], "bold"))
    if account.difference is not None and (other := account.token(account.difference, "against")):
        gap, gap_error = float(account.difference.value[0, 0]), float(account.difference.closure_error[0, 0])
        before = "" if account.capped is None else " before the cap"
        side = "ahead of" if gap >= 0 else "behind"
        parts.append(Paragraph([side, _quoted(other), f"by {abs(gap):.4f}{before}, {within(gap_error)}"]))
    return [*parts, *_predicted(account)]


def _quoted(token: dict[str, Any] | None, after: str = "") -> Item:
    return Quoted("" if token is None else token["text"], after=after)


def _predicted(account: Account) -> list[Paragraph]:
    """The likeliest tokens; and the probability and rank of those that were asked for and are not among them."""
    size, asked, likeliest = account.config.vocab_size, account.prediction.asked, account.prediction.likeliest
    items: list[Item] = ["likeliest:"]
    for i, token in enumerate(likeliest.ids.tolist()):
        comma = "," if i < len(likeliest.ids) - 1 else ""
        shown = chance(float(likeliest.log_probabilities[i]))
        items.append(Quoted(account.vocabulary.text(token), after=f" {shown}{comma}"))
    lines = [Paragraph(items)]
    for i, token in enumerate(asked.ids.tolist()):
        if token not in likeliest.ids.tolist():
            place = f"number {int(asked.ranks[i]) + 1:,} of {size:,} tokens"
            shown = f"probability {chance(float(asked.log_probabilities[i]))}, {place}"
            lines.append(Paragraph([Quoted(account.vocabulary.text(token), after=":"), shown]))
    return lines
