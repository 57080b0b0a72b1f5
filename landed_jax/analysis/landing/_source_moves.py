"""What attention moves from each token to each other: the pattern's weight, and how large what was moved lands."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.errors import LandedError, shown
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.numerics import safe_root
from landed_jax.processes import gathered
from landed_jax.results.result import Result, result
from landed_jax.tables.rows import Rows
from landed_jax.trace import Trace, bare

if TYPE_CHECKING:  # slow to import, and only what shows a table needs them
    from landed_jax.tables.table import Block, Cell

WEIGHT, SHARE = 0.5, 0.2
"""From which weight on, and below which relative value, attention counts as idle."""


@result
class SourceMoves(Result):
    """What each head moves from each source token, and how large it lands.

    Attributes:
        pattern: the attention weight A.
        next: ``‖w ⊙ γ/σ‖``, the length of the head's write from that source alone, as the first norm after the head
            hears it (under LayerNorm of the write without its mean).
        final: the same at the final norm.
        value_size: ``‖w ⊙ γ‖`` at the next read for a weight of 1, up to σ: what there was to move.
    """

    pattern: Float[Array, "layer batch position head source"]
    next: Float[Array, "layer batch position head source"]
    final: Float[Array, "layer batch position head source"]
    value_size: Float[Array, "layer batch source head"]

    @property
    def relative_value(self) -> Float[Array, "layer batch source head"]:
        """`value_size` over its mean over the prompt's real tokens, for the same head: 1 for a token like the others.

        0 where all of a head's values are.
        """
        real = self.tokens.mask[None, :, :, None]
        sizes = jnp.where(real, self.value_size, 0)
        mean = jnp.sum(sizes, axis=2, keepdims=True) / jnp.sum(real, axis=2, keepdims=True, dtype=sizes.dtype)
        return sizes / jnp.where(mean > 0, mean, 1)

    def idle(self, weight: float = WEIGHT, share: float = SHARE) -> Bool[Array, "layer batch position head source"]:
        """Where a large weight sits on a token whose value lands as next to nothing: an attention sink at rest.

        Args:
            weight: the least weight that counts as large.
            share: the relative value below which a value counts as nothing.
        """
        relative = jnp.swapaxes(self.relative_value, 2, 3)[:, :, None]
        real = self.known.real[None, :, :, None, None]
        return (self.pattern >= weight) & (relative < share) & real

    def top(
        self, n: int = 20, *, site: str = "next", batch: int = 0, weight: float = WEIGHT, share: float = SHARE
    ) -> "MoveTable":
        """The `n` largest moves of one prompt, from source to query, as a table; equal ones in the order of layers.

        Args:
            site: ``"next"`` or ``"final"``: where the landed size is taken.
            weight, share: what is marked as idle, as for `idle`.

        Raises:
            LandedError: for another site, or a prompt that is not there.
        """
        if site not in ("next", "final"):
            raise LandedError(f"Moves are sized at the next read or at the final one, not at {shown(site)}.")
        self.known.check_prompt(batch)
        here = gathered(self)
        sizes, numbers = {"next": here.next, "final": here.final}[site], here._numbers(batch, weight, share)
        sizes, mask, at = np.asarray(sizes[:, batch]), np.asarray(here.tokens.mask)[batch], np.asarray(here.at)
        seen = mask[at][:, None] & mask & (at[:, None] >= np.arange(len(mask)))
        places = np.argwhere(np.broadcast_to(seen[None, :, None], sizes.shape))
        order = np.argsort(-sizes[tuple(places.T)], kind="stable")[: max(n, 0)]
        text = here._texts(batch)

        def row(layer: int, p: int, head: int, source: int) -> MoveRow:
            query = int(at[p])
            mine = {name: value[layer, p, head, source].item() for name, value in numbers.items()}
            return MoveRow(layer, head, query, source, text(query), text(source), **mine)

        return MoveTable([row(*places[place].tolist()) for place in order])

    def _numbers(self, batch: int, weight: float, share: float) -> dict[str, np.ndarray]:
        relative = np.swapaxes(np.asarray(self.relative_value[:, batch]), 1, 2)[:, None]
        numbers = {name: np.asarray(getattr(self, name)[:, batch]) for name in ("pattern", "next", "final")}
        numbers["relative_value"] = np.broadcast_to(relative, numbers["pattern"].shape)
        return numbers | {"idle": np.asarray(self.idle(weight, share)[:, batch])}

    def _texts(self, batch: int) -> Callable[[int], str | None]:
        ids, vocabulary = np.asarray(self.tokens.ids)[batch], self.vocabulary
        return lambda column: None if vocabulary is None else vocabulary.text(int(ids[column]))


@dataclass(frozen=True)
class MoveRow:
    """What one head moves from one token to another: columns of the tokens, and the numbers of `SourceMoves`."""

    layer: int
    head: int
    query: int
    source: int
    query_text: str | None
    source_text: str | None
    pattern: float
    next: float
    final: float
    relative_value: float
    idle: bool


class MoveTable(Rows[MoveRow]):
    """Moves from source to query, the largest first."""

    _row = MoveRow

    def blocks(self) -> "list[Block]":
        """The table and its legend, as a terminal or a notebook shows them."""
        from landed_jax.tables.quoted import Quoted
        from landed_jax.tables.table import Column, Table

        def token(text: str | None, column: int) -> "Cell":
            return f"@{column}" if text is None else Quoted(text, after=f"@{column}")

        columns = (
            Column("head", left=True),
            Column("from", left=True),
            Column("to", left=True),
            Column("weight"),
            Column("landed,\nnext", legend="landed: length of what was moved, as the next or the final norm hears it"),
            Column("landed,\nfinal"),
            Column("relative\nvalue", drop=1, legend="relative value: 1 where a token's value lands like others'"),
            Column("", left=True, legend="idle: a large weight on a value that lands as next to nothing"),
        )
        rows = [
            (
                f"{row.layer}.{row.head}",
                token(row.source_text, row.source),
                token(row.query_text, row.query),
                f"{row.pattern:.3f}",
                f"{row.next:.4f}",
                f"{row.final:.4f}",
                f"{row.relative_value:.2f}",
                "idle" if row.idle else "",
            )
            for row in self
        ]
        return [Table("Largest moves of attention", columns, rows, elsewhere="to_pandas()")]


@analysis(record=WRITES | SOURCES, bucketed=True)
def source_moves(trace: Trace) -> SourceMoves:
    """The attention weight of every head, query and source, beside the landed size of what it moved.

    A weight says where a head looks and not what comes of it: the value may be small, or nothing of it may be heard.
    The write from source k to query q is ``A[q,k]`` times what the head makes of the value v_k; its length is taken
    after the norm that hears it, next and final. No vector is held: a head's length comes from its Gram matrix.

    Args:
        trace: bound to its weights, with `SOURCES` recorded beside `WRITES`.

    Raises:
        LandedError: for a trace without weights or without the needed sites.

    References:
        Kobayashi et al., Attention is Not Only a Weight: Analyzing Transformers with Vector Norms, 2020 (norms of the
        weighted, transformed values); Xiao et al., Efficient Streaming Language Models with Attention Sinks, 2023.

    >>> from landed_jax import SOURCES, WRITES, load
    >>> model = load()
    >>> moves = source_moves(model.trace("The Colosseum is in the city of", record=WRITES | SOURCES))
    >>> moves.next.shape
    (4, 1, 8, 8, 8)
    >>> row = moves.top(1, site="final")[0]
    >>> row.layer, row.head, row.source_text, row.query_text
    (2, 7, ' Colosseum', ' of')
    """
    pattern, *sizes = _source_moves(bare(trace))
    return SourceMoves(pattern, *sizes)


@by_layers
def _source_moves(trace: Trace) -> tuple[jax.Array, ...]:
    order, sigma, gamma = trace.order, trace.sigma, trace.gamma
    gains = jnp.stack([gamma[order.next_attn], jnp.broadcast_to(gamma[-1:], gamma[order.next_attn].shape)], axis=1)

    def layer(
        writes: LayerWrites, pattern: jax.Array, value: jax.Array, gains: Float[Array, "read d_model"]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        sizes = safe_root(writes.attending_to(value).weighted_squares(jnp.square(gains)).heads)
        by_query = jnp.swapaxes(pattern, 1, 2)
        moved = writes.attn.times_amount(by_query)[None] * jnp.swapaxes(sizes, 2, 3)[:, :, None]
        return by_query, jnp.abs(moved), sizes[0]

    pattern, moved, sizes = from_layers(
        trace, layer, trace[HookPoint.PATTERN], trace[HookPoint.VALUE], gains, heard=True
    )
    following = moved[:, 0] / sigma[order.next_attn][..., None, None]
    return pattern, following, moved[:, 1] / sigma[-1][None, :, :, None, None], sizes
