"""The result of an attribution: one number for every write, with its closure error."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.attribution._table import WriteRow, WriteTable
from landed_jax.analysis.scale._amplification import Amplification
from landed_jax.analysis.writes._write import Kind, Write, next_site
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import is_concrete
from landed_jax.processes import gathered
from landed_jax.provenance import Provenance
from landed_jax.results.result import Result, result


@result
class Attribution(Result):
    """A logit (or a difference, or any direction) as a sum over writes, with its closure error.

    Attributes:
        landed: each write's landed contribution, in units of the value.
        direct_effect: the value less the value without the write at the read's norm, σ recomputed and everything else
            as it ran: the direct path. An ablation, after which later layers run again, can do anything beside it
            (``edits=``). None if not asked for.
        sigma_share: each write's part of σ² at the read's site; None if not asked for.
        value: ``[batch, position]``, what was read: the model's own logit, a difference, a pre-activation (the
            reader's own bias, `offset`, included).
        total: ``[batch, position]``, the sum of all landed contributions and the offset.
        offset: the part of the value that no write makes: the reader's own bias, and a LayerNorm's β along what reads.
            Of size 1 where it is the same for all.
        closure_error: ``|total − value|``, in units of the value: float arithmetic's error, unless an edit
            of the pass broke the sum.
        target, against: ids ``[batch, position]``; None for a direction of the user's.
        attended: ``[layer, batch, position, head]``, the column of the source token with the largest part in each
            head's contribution, where the trace recorded `SOURCES`; -1 for heads after the site.
        attended_landed: ``[layer, batch, position, head]``, that part, in units of the value; it can have the other
            sign than the head's own contribution.
        experts: the experts that each position chose, in a model that has them; the axis ``neuron`` has the neurons of
            the first, then those of the next.
        scale: the amplification at every read site.
        site: the read site; what is written after it contributes 0.
    """

    landed: PerWrite
    direct_effect: PerWrite | None
    sigma_share: PerWrite | None
    value: Float[Array, "batch position"]
    total: Float[Array, "batch position"]
    closure_error: Float[Array, "batch position"]
    offset: Float[Array, "#batch #position"]
    target: Int[Array, "batch position"] | None
    against: Int[Array, "batch position"] | None
    attended: Int[Array, "layer batch position head"] | None
    attended_landed: Float[Array, "layer batch position head"] | None
    experts: Int[Array, "layer batch position slot"] | None
    scale: Amplification
    site: str = dataclasses.field(metadata={"static": True})

    @property
    def sigma_mediated(self) -> PerWrite:
        """Direct effect less landed contribution: what each write does by changing the scale of all others.

        Raises:
            LandedError: for an attribution made without effects.
        """
        if self.direct_effect is None:
            raise LandedError("This attribution has no direct effects: make it with effects=True.")
        return self.direct_effect.map(jnp.subtract, self.landed)

    def top(self, n: int = 20, *, position: int | None = None, batch: int = 0) -> WriteTable:
        """The `n` writes with the largest |landed contribution| at one position of one prompt.

        Every head, every neuron and the embeddings are ranked; biases are not. Needs concrete values, so it does
        not run under ``jit``; use ``jax.lax.top_k`` on `landed` there.

        Args:
            position: a recorded column of the tokens (negative: from the end); by default
                the prompt's last recorded token.

        Raises:
            LandedError: if the position was not recorded or is padding, or the prompt is not there.
        """
        here = gathered(self)
        p, column = recorded_token(here.known, position, batch)
        flat = [flat_writes(part, batch, p) for part in (here.landed, here.direct_effect, here.sigma_share)]
        order = np.argsort(-np.abs(flat[0]), kind="stable")[: max(n, 0)]
        return WriteTable([here._row(int(u), flat, batch, p, column) for u in order])

    def _row(self, u: int, flat: list[np.ndarray], batch: int, p: int, column: int) -> WriteRow:
        config = self.config
        write = write_at(u, config, batch, column, experts_at(self.experts, batch, p))
        site = StreamOrder.of(config).index(next_site(write, config))
        attended = text = part = None
        if self.attended is not None and self.attended_landed is not None and write.kind == "head":
            place = write.layer, batch, p, write.index
            attended = int(self.attended[place])
            if attended < 0:
                attended = None
            else:
                part = float(self.attended_landed[place])
                text = self.vocabulary and self.vocabulary.text(int(self.tokens.ids[batch, attended]))
        landed, effect, share = (float(values[u]) if values.size else None for values in flat)
        return WriteRow(
            **dataclasses.asdict(write),
            landed=landed or 0.0,
            direct_effect=effect,
            sigma_share=share,
            amplification=float(self.scale.median[site, batch, p]),
            attended=attended,
            attended_text=text,
            attended_landed=part,
        )


def recorded_token(known: Provenance, position: int | None, batch: int) -> tuple[int, int]:
    """Where a column of one prompt stands among the recorded positions, and the column; by default the last token's.

    Raises:
        LandedError: if the position was not recorded or is padding, or the prompt is not there.
    """
    if not is_concrete(known.at) or np.ndim(known.at) != 1:
        raise LandedError(
            "Rows are of one trace's known numbers: take them outside of jit, and of one element of vmap's."
        )
    columns = np.asarray(known.at)
    if position is None:
        known.check_prompt(batch)
        real = columns[np.asarray(known.tokens.mask)[batch, columns]]
        if not real.size:
            raise LandedError(f"No recorded position of prompt {batch} holds a token; all are padding.")
        position = int(real[-1])
    index = int(known.recorded(position, batch))
    return index, int(columns[index])


def experts_at(experts: Array | None, batch: int, p: int) -> np.ndarray | None:
    """``[layer, slot]``, the experts that one position chose; None in a model without experts."""
    return None if experts is None else np.asarray(experts[:, batch, p])


def write_at(u: int, config: ModelConfig, batch: int, column: int, experts: np.ndarray | None) -> Write:
    """The write at place u in the order of `flat_writes`.

    Args:
        experts: as `experts_at` gives them.
    """
    before: tuple[Kind, ...] = ("embedding", "position") if config.learned_positions else ("embedding",)
    if u < len(before):
        return Write(before[u], batch=batch, position=column)
    u -= len(before)
    if u < config.n_layers * config.n_heads:
        return Write("head", *divmod(u, config.n_heads), batch=batch, position=column)
    layer, index = divmod(u - config.n_layers * config.n_heads, config.n_neurons)
    if experts is None:
        return Write("neuron", layer, index, batch, column)
    slot, index = divmod(index, config.d_ff)
    return Write("neuron", layer, index, batch, column, expert=int(experts[layer, slot]))


def flat_writes(part: PerWrite | None, batch: int, p: int) -> np.ndarray:
    """Embeddings, heads, neurons of one position in a row; empty where there is nothing."""
    if part is None:
        return np.zeros(0)
    heads, neurons = np.asarray(part.heads[:, batch, p]), np.asarray(part.neurons[:, batch, p])
    embeddings = [np.asarray(number[batch, p])[None] for number in part.embeddings.values()]
    return np.concatenate([*embeddings, heads.ravel(), neurons.ravel()])
