"""The contexts of a data set in which a head or a neuron is most active."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads._questions import QuestionLike
from landed_jax.analysis.reduce._reductions import LayerShares, Reduction
from landed_jax.analysis.writes._write import Write, describe, next_site
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.model import Model, Prompts
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.experts import Chosen
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.parameters import Params
from landed_jax.numerics import safe_root
from landed_jax.prompts import read_prompts, warn_of
from landed_jax.provenance import Provenance
from landed_jax.results.result import Result, result
from landed_jax.tables.rows import Rows
from landed_jax.tokens import Tokens

if TYPE_CHECKING:  # slow to import, and only what shows a table needs them
    from landed_jax.tables.table import Block

_SHOWN = 36  # characters of what stands before the token, and of what stands behind it


@dataclass(frozen=True)
class ContextRow:
    """One context: how active, in which prompt, at which of its tokens, and the text around that."""

    value: float
    prompt: int
    position: int
    before: str
    token: str
    after: str


class ContextTable(Rows[ContextRow]):
    """Contexts, the most active first."""

    _row = ContextRow

    def blocks(self) -> "list[Block]":
        from landed_jax.tables.quoted import Quoted
        from landed_jax.tables.table import Column, Table

        columns = (
            Column("value"),
            Column("prompt"),
            Column("token\nno."),
            Column("before", left=True),
            Column("token", left=True),
            Column("after", left=True, drop=1),
        )
        rows = [
            (
                f"{row.value:.4f}",
                str(row.prompt),
                str(row.position),
                Quoted(row.before[-_SHOWN:], before="…" if len(row.before) > _SHOWN else ""),
                Quoted(row.token),
                Quoted(row.after),
            )
            for row in self
        ]
        return [Table("The contexts with the largest values", columns, rows, elsewhere="to_pandas()")]


@result
class TopContexts(Result):
    """The contexts in which a component is most active, the largest value first; equal ones in the data's order.

    The result's own prompts are the windows around the tokens that were found, one a context, so that its axis
    ``batch`` is the contexts', and its one position is the token's.

    Attributes:
        value: how active.
        prompt: which prompt of the data, counted from 0.
        place: which of that prompt's tokens, counted from 0.
    """

    value: Float[Array, "batch position"]
    prompt: Int[Array, "batch position"]
    place: Int[Array, "batch position"]

    def table(self) -> ContextTable:
        """The contexts as text, the token apart.

        Raises:
            LandedError: for a model without a tokenizer.
        """
        vocabulary = self.vocabulary
        if vocabulary is None:
            raise LandedError("This model has no tokenizer, so its contexts have no text: see tokens.")
        at, ids, mask = int(self.at[0]), np.asarray(self.tokens.ids), np.asarray(self.tokens.mask)

        def text(row: int, part: slice) -> str:
            return "".join(map(vocabulary.text, ids[row, part][mask[row, part]].tolist()))

        parts = (slice(0, at), slice(at, at + 1), slice(at + 1, None))
        numbers = zip(*(np.asarray(part)[:, 0].tolist() for part in (self.value, self.prompt, self.place)), strict=True)
        return ContextTable([ContextRow(*of, *(text(row, p) for p in parts)) for row, of in enumerate(numbers)])


def top_contexts(
    model: Model,
    data: Iterable[Prompts],
    component: Write,
    question: QuestionLike = None,
    *,
    k: int = 20,
    before: int = 12,
    after: int = 4,
    together: int = 8,
) -> TopContexts:
    """The `k` tokens of a data set at which a head or neuron is most active, each with the tokens around it.

    A head is as active as its write is long, a neuron as its activation is large; with a question both are as active as
    their landed contribution to it is large. The data are read as they come, and no more is kept than `k` contexts.

    Args:
        data: prompts: texts, lists of ids, or `Tokens`; an iterator, which may be endless but for memory's sake.
        component: ``Write("head", layer, index)`` or ``Write("neuron", layer, index)``; its prompt and position do not
            count. At positions that did not choose a neuron's expert it is 0.
        question: as for `attribute_streaming`; a bare ``None`` asks for the activity alone.
        k: how many to keep.
        before, after: how many tokens of a window.
        together: prompts of one pass. Padding is on the left, and is never found.

    Raises:
        LandedError: for what is no head or neuron of the model, no prompt, or numbers out of range.

    References:
        Bills et al., Language models can explain neurons in language models, 2023 (top activating contexts).

    >>> import landed_jax as landed
    >>> from landed_jax.roles import top_contexts
    >>> texts = [f"The {place} is in the city of" for place in ("Colosseum", "Louvre", "Parthenon")]
    >>> found = top_contexts(landed.load(), texts, landed.Write("head", 2, 7), k=2)
    >>> [(row.prompt, row.before, row.token) for row in found.table()]
    [(0, '<s> The Colosseum is in the city', ' of'), (0, '', '<s>')]
    """
    next_site(component, model.config)  # refuses what is not there
    if component.kind not in ("head", "neuron"):
        raise LandedError(f"Contexts are of a head or a neuron, not of {describe(component)}.")
    if isinstance(data, str) or min(k, together, before + 1, after + 1) < 1:
        raise LandedError("Contexts are found in a list of prompts, and at least one is kept and computed at a time.")
    active = partial(_active, model, component, question)
    kept = _Found.none()
    prompts = enumerate(_prompts(model, data))
    while some := list(islice(prompts, together)):
        rows = [ids for _, ids in some]
        tokens = Tokens.from_lists([*rows, *[rows[-1]] * (together - len(rows))]).bucketed()
        values = np.asarray(active(tokens))[: len(rows)]
        kept = kept.merged(values, np.asarray(tokens.mask)[: len(rows)], some, k, before, after)
    if not kept.windows:
        raise LandedError("There was no prompt to find contexts in.")
    return _result(kept, model, before, after)


class _Found(NamedTuple):
    """The contexts so far, in order."""

    values: np.ndarray
    prompts: np.ndarray
    places: np.ndarray
    windows: list[tuple[list[int], list[int]]]  # up to the token and with it, and behind it

    @classmethod
    def none(cls) -> "_Found":
        return cls(np.zeros(0), np.zeros(0, int), np.zeros(0, int), [])

    def merged(
        self, values: np.ndarray, mask: np.ndarray, rows: list[tuple[int, list[int]]], k: int, before: int, after: int
    ) -> "_Found":
        row, column = np.nonzero(mask)
        place = column - mask.argmax(axis=1)[row]
        number = np.array([number for number, _ in rows])[row]
        largest = np.lexsort((place, number, -values[row, column]))[:k]
        row, place, number = row[largest], place[largest], number[largest]
        windows = []
        for r, p in zip(row.tolist(), place.tolist(), strict=True):
            ids = rows[r][1]
            windows.append((ids[max(p - before, 0) : p + 1], ids[p + 1 : p + 1 + after]))
        mine = (values[mask][largest], number, place)
        value, prompt, at = (np.concatenate(pair) for pair in zip(self[:3], mine, strict=True))
        order = np.lexsort((at, prompt, -value))[:k]
        every = [*self.windows, *windows]
        return _Found(value[order], prompt[order], at[order], [every[i] for i in order.tolist()])


def _result(kept: _Found, model: Model, before: int, after: int) -> TopContexts:
    ids = np.zeros((len(kept.windows), before + 1 + after), np.int32)
    mask = np.zeros(ids.shape, bool)
    for row, (up_to, behind) in enumerate(kept.windows):
        columns = slice(before + 1 - len(up_to), before + 1 + len(behind))
        ids[row, columns], mask[row, columns] = [*up_to, *behind], True
    at = jnp.array([before], jnp.int32)
    tokens = Tokens(*jax.device_put((ids, mask)))
    known = Provenance(tokens, at, model.config, model.vocabulary, model.source, model.notes)
    numbers = (jnp.asarray(part[:, None]) for part in (kept.values, kept.prompts, kept.places))
    return TopContexts(*numbers, provenance=known)


def _prompts(model: Model, data: Iterable[Prompts]) -> Iterator[list[int]]:
    """Each prompt's ids."""
    for part in data:
        tokens, said = read_prompts(part, model.vocabulary, model.config, model.no_vocabulary)
        warn_of(said)
        for ids, mask in zip(np.asarray(tokens.ids), np.asarray(tokens.mask), strict=True):
            yield ids[mask].tolist()


def _active(model: Model, component: Write, question: QuestionLike, tokens: Tokens) -> jax.Array:
    """How active a component is, at every column of some prompts."""
    assert component.index is not None and component.layer is not None  # of a head and of a neuron
    one = (component.kind, component.index, component.expert)
    if question is None:
        return _activity(model.params, tokens, config=model.config, one=one)[component.layer]
    return model.attribute_streaming(tokens, _share_of(*one), question).reduced[component.layer]


@partial(by_layers, static=("config", "one"))
def _activity(
    params: Params, tokens: Tokens, *, config: ModelConfig, one: tuple[Any, ...]
) -> Float[Array, "layer batch position"]:
    # The logits are not returned, so the compiler leaves them out.
    _, trace = forward(params, tokens, config, record=(), observers={"active": _observer(*one)})
    return trace.observed["active"]


@functools.cache  # a program is compiled for each function
def _observer(kind: str, index: int, expert: int | None) -> Callable[[LayerWrites], jax.Array]:
    def active(writes: LayerWrites) -> jax.Array:
        if kind == "head":
            return safe_root(writes.squared_norms().heads[..., index])
        return _of_neuron(writes.a, index, expert, writes.chosen)

    return active


@functools.cache  # as above
def _share_of(kind: str, index: int, expert: int | None) -> Reduction:
    def share(shares: LayerShares) -> jax.Array:
        if kind == "head":
            return shares.landed.heads[..., index]
        return _of_neuron(shares.landed.neurons, index, expert, shares.writes.chosen)

    return Reduction(share)


def _of_neuron(
    numbers: Float[Array, "batch position neuron"], index: int, expert: int | None, chosen: Chosen | None
) -> Float[Array, "batch position"]:
    """One neuron's number at each position; 0 where a position did not choose its expert."""
    if chosen is None:
        return numbers[..., index]
    by_slot = numbers.reshape(*chosen.ids.shape, -1)[..., index]
    return jnp.sum(jnp.where(chosen.ids == expert, by_slot, 0), axis=-1)
