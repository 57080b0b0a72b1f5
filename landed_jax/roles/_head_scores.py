"""The scores by which heads are named: previous token, duplicate token, induction, copying."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._copying import copying_of
from landed_jax.errors import LandedError, shown
from landed_jax.intervals import mean_intervals
from landed_jax.model import Model
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.results.result import Result, result
from landed_jax.roles._patterns import pattern_scores
from landed_jax.roles._sequences import repeated_sequences
from landed_jax.tables.rows import Rows
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace, bare

if TYPE_CHECKING:  # slow to import, and only what shows a table needs them
    from landed_jax.tables.table import Block

SCORES = ("induction", "previous_token", "duplicate_token", "copying", "suppression")
# Sequences of one pass: few enough that their patterns and logits stay small beside a model.
_TOGETHER = 8


@dataclass(frozen=True)
class HeadRow:
    """One head's mean scores over the sequences, and the interval of that by which the rows are ordered."""

    layer: int
    head: int
    induction: float
    previous_token: float
    duplicate_token: float
    copying: float
    suppression: float
    low: float
    high: float


class HeadTable(Rows[HeadRow]):
    """Heads, that with the largest score first."""

    _row = HeadRow

    def __init__(self, rows: Sequence[HeadRow], score: str = SCORES[0]) -> None:
        super().__init__(rows)
        self.score = score

    def _of(self, rows: Sequence[HeadRow]) -> "HeadTable":
        return HeadTable(rows, self.score)

    def blocks(self) -> "list[Block]":
        from landed_jax.tables.table import Column, Table

        names = [self.score, *(name for name in SCORES if name != self.score)]
        columns = [
            Column("head", left=True),
            Column(names[0].replace("_", "\n"), legend=_LEGENDS[names[0]]),
            Column("95 %\ninterval", left=True, drop=1),
            *(Column(name.replace("_", "\n"), legend=_LEGENDS[name]) for name in names[1:]),
        ]
        rows = [
            [
                f"{row.layer}.{row.head}",
                f"{getattr(row, names[0]):.3f}",
                f"{row.low:.3f} – {row.high:.3f}",
                *(f"{getattr(row, name):.3f}" for name in names[1:]),
            ]
            for row in self
        ]
        title = f"The {len(rows)} heads with the largest {self.score.replace('_', ' ')} score"
        return [Table(title, columns, rows, elsewhere="to_pandas()")]


_LEGENDS = {
    "induction": "induction: weight on what followed the earlier occurrence of the query's token",
    "previous_token": "previous token: weight on the token before",
    "duplicate_token": "duplicate token: weight on the earlier occurrence itself",
    "copying": "copying: share of tokens that their own value raises to the largest logits",
    "suppression": "suppression: share of tokens that their own value lowers to the smallest logits",
}


@result
class HeadScores(Result):
    """Every head's scores in each of many random sequences, from 0 to 1.

    Attributes:
        induction, previous_token, duplicate_token: mean attention weights, as in `PatternScores`.
        copying: the share of tokens that are among the largest logits of what the head would write, attending to
            them alone.
        suppression: the share that are among the smallest.
    """

    induction: Float[Array, "layer head sequence"]
    previous_token: Float[Array, "layer head sequence"]
    duplicate_token: Float[Array, "layer head sequence"]
    copying: Float[Array, "layer head sequence"]
    suppression: Float[Array, "layer head sequence"]

    def mean(self, score: str) -> Float[np.ndarray, "layer head"]:
        """A score's mean over the sequences.

        Raises:
            LandedError: for a score that there is not.
        """
        return np.mean(self._of(score), axis=-1)

    def interval(self, score: str, level: float = 0.95, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The interval of that mean, over the sequences: see `mean_intervals`."""
        return mean_intervals(self._of(score), level, seed=seed)

    def top(self, n: int = 10, score: str = SCORES[0]) -> HeadTable:
        """The `n` heads with the largest mean of a score; equal ones in their order.

        Raises:
            LandedError: for a score that there is not.
        """
        means = {name: self.mean(name) for name in SCORES}
        (low, high), order = self.interval(score), np.argsort(-self.mean(score), axis=None, kind="stable")

        def row(flat: int) -> HeadRow:
            place = np.unravel_index(flat, low.shape)
            numbers = {name: float(values[place]) for name, values in means.items()}
            return HeadRow(int(place[0]), int(place[1]), **numbers, low=float(low[place]), high=float(high[place]))

        return HeadTable([row(int(flat)) for flat in order[: max(n, 0)]], score)

    def _of(self, score: str) -> np.ndarray:
        if score not in SCORES:
            raise LandedError(f"There is no score {shown(score)}: there are {', '.join(SCORES)}.")
        return np.asarray(getattr(self, score), np.float64)


def head_scores(
    model: Model,
    *,
    sequences: int = 32,
    length: int = 25,
    seed: int = 0,
    pool: Sequence[int] | None = None,
    copied: int = 4,
    top: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> HeadScores:
    """Score every head on random sequences of tokens, each repeated once.

    In random tokens nothing but the repetition tells what comes next, so a head that looks at what followed the earlier
    occurrence does it for that reason. Scores are of what a head looks at and of what it would write; what follows from
    it for the model shows an ablation.

    Args:
        sequences, length: how many, and how many different tokens each has before it is repeated.
        seed: of the tokens.
        pool: the ids that are drawn from; by default all but the tokenizer's special ones.
        copied: how many tokens of each sequence are tried for copying, which takes a product with the unembedding
            each.
        top: how many of the largest, or smallest, logits count as copied, or suppressed.
        progress: called with the number of finished sequences and of all.

    Raises:
        LandedError: for a pool with fewer ids than a sequence, and numbers that are out of range.

    References:
        Olsson et al., In-context Learning and Induction Heads, 2022; Wang et al., Interpretability in the Wild, 2022,
        arXiv:2211.00593 (copy score).

    >>> from landed_jax import load
    >>> from landed_jax.roles import head_scores
    >>> head_scores(load(), sequences=8, length=8).induction.shape
    (4, 8, 8)
    """
    ids = repeated_sequences(model.config, model.vocabulary, sequences, length, seed=seed, pool=pool)
    if not 1 <= copied <= length or top < 1:
        raise LandedError(f"Copying is of 1 to {length} tokens a sequence and at least one logit, not {copied}, {top}.")
    front = len(ids[0]) - 2 * length
    at = front + np.linspace(0, length - 1, copied).round().astype(int)
    found = []
    for first in range(0, sequences, _TOGETHER):
        trace = model.trace(jnp.asarray(ids[first : first + _TOGETHER], jnp.int32), record=WRITES | SOURCES)
        found.append(jax.device_get(_scores(bare(trace), at, top)))
        if progress is not None:
            progress(min(first + _TOGETHER, sequences), sequences)
    parts = [np.concatenate(part, axis=-1) for part in zip(*found, strict=True)]
    tokens = Tokens.from_lists(ids)
    known = dataclasses.replace(trace.provenance, tokens=tokens, at=trace.at)
    return HeadScores(*map(jnp.asarray, parts), provenance=known)


def _scores(trace: Trace, at: np.ndarray, top: int) -> tuple[jax.Array, ...]:
    """The scores of one batch, ``[layer, head, sequence]`` each."""
    patterns = pattern_scores(trace[HookPoint.PATTERN], trace.tokens)
    ranks = copying_of(trace, trace[HookPoint.VALUE][:, :, at], trace.tokens.ids[:, at])

    def share(hit: jax.Array) -> jax.Array:
        return jnp.moveaxis(jnp.mean(hit, axis=2, dtype=patterns.induction.dtype), 1, 2)

    return (
        patterns.induction,
        patterns.previous_token,
        patterns.duplicate_token,
        share(ranks.copied(top)),
        share(ranks.suppressed(top)),
    )
