"""Name movers and negative heads: which heads look from the end at a name and move its logit."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._copying import copying_of
from landed_jax.analysis.attribution._sources import attribute_by_source
from landed_jax.errors import LandedError
from landed_jax.intervals import mean_intervals
from landed_jax.model import Model
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.results.result import Result, result
from landed_jax.tables.rows import Rows
from landed_jax.tasks import Kept, Pairs
from landed_jax.trace import bare

if TYPE_CHECKING:  # slow to import, and only what shows a table needs them
    from landed_jax.tables.table import Block


@dataclass(frozen=True)
class MoverRow:
    """One head's means over the prompts, and the interval of its direct effect."""

    layer: int
    head: int
    direct: float
    low: float
    high: float
    landed: float
    moved_right: float
    moved_wrong: float
    to_right: float
    to_wrong: float
    copying: float
    suppression: float


class MoverTable(Rows[MoverRow]):
    """Heads by their direct effect on the right name's lead."""

    _row = MoverRow

    def blocks(self) -> "list[Block]":
        from landed_jax.tables.table import Column, Table

        columns = (
            Column("head", left=True),
            Column("direct\neffect", legend="direct effect: on right less wrong name's logit, σ recomputed; a mean"),
            Column("95 %\ninterval", left=True, drop=1),
            Column("attention\nto right", legend="right, wrong: the two names; attention is that from the end"),
            Column("to\nwrong"),
            Column("landed by\nright", legend="landed by: the part of the landed contribution that a name gave"),
            Column("by\nwrong"),
            Column("copies", legend="copies, suppresses: share of right names among the largest (smallest) OV logits"),
            Column("sup-\npresses", drop=2),
        )
        rows = [
            (
                f"{row.layer}.{row.head}",
                f"{row.direct:+.3f}",
                f"{row.low:+.3f} – {row.high:+.3f}",
                f"{row.to_right:.2f}",
                f"{row.to_wrong:.2f}",
                f"{row.moved_right:+.2f}",
                f"{row.moved_wrong:+.2f}",
                f"{row.copying:.2f}",
                f"{row.suppression:.2f}",
            )
            for row in self
        ]
        return [Table("Heads by their direct effect on the right name's lead", columns, rows, elsewhere="to_pandas()")]


@result
class NameMovers(Result):
    """What each head does from the last token of each prompt for the right name (the indirect object).

    Attributes:
        direct: what the logit difference, right less wrong name, loses without the head's last write, σ recomputed.
        landed: its landed contribution, σ held.
        moved_right, moved_wrong: the part of that which came by way of the right, and of the wrong name's columns.
        to_right, to_wrong: attention from the end on these columns.
        copied, suppressed: 1 where the right name is among the largest (smallest) logits of what the head would write,
            attending to that name alone.
        difference: the model's logit difference.
    """

    direct: Float[Array, "layer head prompt"]
    landed: Float[Array, "layer head prompt"]
    moved_right: Float[Array, "layer head prompt"]
    moved_wrong: Float[Array, "layer head prompt"]
    to_right: Float[Array, "layer head prompt"]
    to_wrong: Float[Array, "layer head prompt"]
    copied: Float[Array, "layer head prompt"]
    suppressed: Float[Array, "layer head prompt"]
    difference: Float[Array, " prompt"]

    def movers(self, n: int = 10) -> MoverTable:
        """The `n` heads with the largest mean direct effect for the right name."""
        return self._table(-self._mean("direct"), n)

    def negative(self, n: int = 10) -> MoverTable:
        """The `n` heads with the largest mean direct effect against it."""
        return self._table(self._mean("direct"), n)

    def _mean(self, name: str) -> np.ndarray:
        return np.mean(np.asarray(getattr(self, name), np.float64), axis=-1)

    def _table(self, order: np.ndarray, n: int) -> MoverTable:
        low, high = mean_intervals(np.asarray(self.direct))
        names = ("direct", "landed", "moved_right", "moved_wrong", "to_right", "to_wrong")
        means = {name: self._mean(name) for name in names}
        means |= {"low": low, "high": high, "copying": self._mean("copied"), "suppression": self._mean("suppressed")}

        def row(flat: int) -> MoverRow:
            layer, head = map(int, np.unravel_index(flat, low.shape))
            return MoverRow(layer, head, **{name: float(values[layer, head]) for name, values in means.items()})

        flat = np.argsort(order, axis=None, kind="stable")[: max(n, 0)]
        return MoverTable([row(int(place)) for place in flat])


def naming(kept: Kept) -> Kept:
    """Those of some kept prompts that hold a right and a wrong answer as tokens: the names that a head can look at.

    A name that begins a text may be another token than the answer, which follows a space: such prompts are left out.

    >>> import landed_jax as landed
    >>> from landed_jax.roles import naming
    >>> from landed_jax.tasks import answered
    >>> from landed_jax.testbed.prompts import tasks
    >>> naming(answered(landed.load(), tasks()["indirect object"], 12))
    Kept(12 of 15 prompts: 15 with answers of one token, 15 aligned, 100% of these right)
    """
    places = [
        place
        for place, ids in enumerate(kept.clean)
        if set(ids).intersection(kept.right[place]) and set(ids).intersection(kept.wrong[place])
    ]

    def some(values: Sequence) -> tuple:
        return tuple(values[place] for place in places)

    parts = {name: some(getattr(kept, name)) for name in ("prompts", "clean", "corrupted", "right", "wrong")}
    return dataclasses.replace(kept, **parts, difference=kept.difference[places])


def name_movers(
    model: Model, batches: Sequence[Pairs], *, top: int = 5, norms: WeightNorms | None = None
) -> NameMovers:
    """Every head's direct effect on the right name's lead, its attention to both names, and whether it copies them.

    A *name mover* looks from the end at the right name, copies it, and raises its lead; a *negative* head looks at it
    too and lowers it.

    Args:
        batches: clean prompts with the names in them: ``pairs_of(naming(kept))``.
        top: how many of the largest, or smallest, logits count as copied, or suppressed.
        norms: `weight_norms` of the model's weights, where they were made before.

    Raises:
        LandedError: for no prompt, and one that does not hold its right and its wrong name.

    References:
        Wang et al., Interpretability in the Wild, 2022, arXiv:2211.00593 (name movers, negative name movers).

    >>> import landed_jax as landed
    >>> from landed_jax.roles import name_movers, naming
    >>> from landed_jax.tasks import answered, pairs_of
    >>> from landed_jax.testbed.prompts import tasks
    >>> model = landed.load()
    >>> found = name_movers(model, pairs_of(naming(answered(model, tasks()["indirect object"], 12))))
    >>> row = found.movers(1)[0]
    >>> row.layer, row.head, row.copying  # the largest direct effect of this small model is no name mover's
    (3, 5, 0.0)
    """
    if not batches:
        raise LandedError("Name movers are found on at least one prompt.")
    found = [_of_batch(model, pairs, top, norms) for pairs in batches]
    return NameMovers(*(jnp.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)))


def _of_batch(model: Model, pairs: Pairs, top: int, norms: WeightNorms | None) -> tuple[jax.Array, ...]:
    tokens = pairs.clean
    to_right, to_wrong = (_holds(tokens.ids, tokens.mask, ids) for ids in (pairs.right, pairs.wrong))
    if not bool(jnp.all(jnp.any(to_right, axis=-1) & jnp.any(to_wrong, axis=-1))):
        raise LandedError("Some of these prompts do not hold both names as tokens: take naming(kept).")
    trace = model.trace(tokens, record=WRITES | SOURCES, at=-1)
    question = pairs.question(model.params, model.config, trace[HookPoint.EMBEDDING].dtype)
    shares, split = attribute(trace, question, norms=norms), attribute_by_source(trace, question).landed
    assert shares.direct_effect is not None  # asked for
    pattern = trace[HookPoint.PATTERN][:, :, :, 0]
    weights = [jnp.sum(jnp.where(held[None, :, None], pattern, 0), axis=-1) for held in (to_right, to_wrong)]
    moved = [jnp.sum(jnp.where(held[None, :, None, None], split, 0), axis=-1) for held in (to_right, to_wrong)]
    column = jnp.argmax(to_right, axis=-1)[:, None]
    value = jnp.take_along_axis(trace[HookPoint.VALUE], column[None, :, :, None, None], axis=2)
    ranks = copying_of(bare(trace), value, jnp.take_along_axis(tokens.ids, column, axis=-1))
    hits = (hit.astype(pattern.dtype) for hit in (ranks.copied(top), ranks.suppressed(top)))
    heads = (shares.direct_effect.heads, shares.landed.heads, *moved)
    per_head = [part[:, :, 0] for part in heads] + weights + [hit[:, :, 0] for hit in hits]
    return *(jnp.moveaxis(part, 1, -1) for part in per_head), shares.value[:, 0]


def _holds(
    ids: Int[Array, "batch source"], mask: Bool[Array, "batch source"], names: Int[Array, "batch answer"]
) -> Bool[Array, "batch source"]:
    """Which columns hold one of a prompt's names."""
    return jnp.any(ids[:, :, None] == names[:, None, :], axis=-1) & mask
