"""What was read: the prompt, the target, its logit, and how exactly the parts sum to it."""

from typing import Any

from landed_jax.report.account import Account
from landed_jax.report.prediction import Chances, chance
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
    parts.append(Paragraph([*asked, f"{name} {value:.4f}, the writes sum to it within {error:.1e}"], "bold"))
    if account.difference is not None and (other := account.token(account.difference, "against")):
        gap, gap_error = float(account.difference.value[0, 0]), float(account.difference.closure_error[0, 0])
        side = "ahead of" if gap >= 0 else "behind"
        parts.append(Paragraph([side, _quoted(other), f"by {abs(gap):.4f}, within {gap_error:.1e}"]))
    return [*parts, *_predicted(account, [token for token in (target, against) if token is not None])]


def _quoted(token: dict[str, Any] | None, after: str = "") -> Item:
    return Quoted("" if token is None else token["text"], after=after)


def _predicted(account: Account, asked: list[dict[str, Any]]) -> list[Paragraph]:
    """The probability and rank of each token that was asked for, and the likeliest tokens."""
    found, likeliest = account.prediction.asked, account.prediction.likeliest
    size = account.config.vocab_size
    lines: list[Paragraph] = []
    for i, token in enumerate(asked):
        rank = int(found.ranks[i])
        place = "the likeliest" if rank == 0 else f"number {rank + 1:,}"
        shown = f"probability {chance(float(found.log_probabilities[i]))}, {place} of {size:,} tokens"
        lines.append(Paragraph([Quoted(token["text"], after=":"), shown]))
    return [*lines, Paragraph(["likeliest:", *_listed(account, likeliest)])]


def _listed(account: Account, chances: Chances) -> list[Item]:
    items: list[Item] = []
    for i, token in enumerate(chances.ids.tolist()):
        comma = "," if i < len(chances.ids) - 1 else ""
        items += [Quoted(account.vocabulary.text(token)), f"{chance(float(chances.log_probabilities[i]))}{comma}"]
    return items
