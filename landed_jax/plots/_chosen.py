"""Which prompt and which position of a result is drawn, and what the caption says of them."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from landed_jax.analysis.attribution._result import recorded_token
from landed_jax.errors import LandedError, shown
from landed_jax.numerics import is_concrete
from landed_jax.provenance import Provenance
from landed_jax.results.result import Result
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.vocabulary import NumberedTokens, Vocabulary

_HYPHEN = re.compile(r"(?<![\w)\]])-(?=\d)|(?<=\de)-(?=\d)")  # a number's sign, or its exponent's


@dataclass(frozen=True)
class Chosen:
    """One prompt of a batch, and one of its recorded positions.

    Attributes:
        given: whether the caller chose the prompt.
        place: where the position stands among the recorded ones; `column` is its column of the tokens.
    """

    known: Provenance
    prompt: int
    given: bool
    place: int
    column: int

    @classmethod
    def of(cls, found: Result, prompt: int | None = None, position: int | None = None) -> "Chosen":
        """The prompt and position, by default the first prompt and its last recorded token.

        Raises:
            LandedError: for a prompt or a position that is not there, or is padding.
        """
        for name, value in (("prompt", prompt), ("position", position)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer | None):
                raise LandedError(f"{name}={shown(value)} is no whole number.")
        first = int(prompt or 0)
        place, column = recorded_token(found.known, position, first)
        return cls(found.known, first, prompt is not None, int(place), int(column))

    def cell(self, values: Any, after: int = 0) -> np.ndarray:
        """The chosen position's numbers of ``[*, batch, position, *after]``; an axis of size 1 stands for all."""
        return np.take(self.row(values, after), min(self.place, np.shape(values)[-1 - after] - 1), axis=-1 - after)

    def row(self, values: Any, after: int = 0) -> np.ndarray:
        """The chosen prompt's numbers of ``[*, batch, position, *after]``: ``[*, position, *after]``."""
        array = plain(values)
        axis = array.ndim - 2 - after
        return np.take(array, min(self.prompt, array.shape[axis] - 1), axis=axis)

    @property
    def real(self) -> np.ndarray:
        """Of the recorded positions, the places of those that are no padding of the prompt."""
        return np.flatnonzero(np.asarray(self.known.real)[self.prompt])

    @property
    def columns(self) -> np.ndarray:
        """The columns of the prompt's tokens that are no padding."""
        return np.flatnonzero(np.asarray(self.known.tokens.mask)[self.prompt])

    def token(self, column: int) -> Item:
        """``7 ' of'``: the place among the prompt's own tokens, without its padding."""
        return Quoted(self._text(column), f"{self.own(column)} ")

    def own(self, column: int) -> int:
        """How many of the prompt's own tokens stand before a column."""
        return int(np.asarray(self.known.tokens.mask)[self.prompt, :column].sum())

    def _text(self, column: int) -> str:
        ids = np.asarray(self.known.tokens.ids)
        return vocabulary_of(self.known).text(int(ids[self.prompt, column]))

    def tokens(self, columns: Sequence[int] | np.ndarray) -> tuple[Item, ...]:
        return tuple(self.token(int(column)) for column in columns)

    @property
    def recorded(self) -> tuple[Item, ...]:
        """The tokens at the recorded positions that are no padding."""
        return self.tokens(np.asarray(self.known.at)[self.real])

    def caption(self, found: Any, *counted: Item, at_position: bool = True) -> list[Item]:
        """What the figure is of.

        Args:
            counted: what else is said, at the end.
            at_position: whether one position is drawn, and not all.
        """
        batch = np.shape(self.known.tokens.ids)[0]
        default = "" if self.given else "; prompt= chooses another"
        length, own = len(self.columns), self.own(self.column)
        if at_position and own == self.column:
            where = ["Position", Quoted(self._text(self.column), f"{own} ", ".")]
        elif at_position:
            padded = f"of the prompt's own tokens (position={self.column} of the padded batch)."
            where = ["Position", Quoted(self._text(self.column), f"{own} "), padded]
        else:
            where = [f"{len(self.real)} recorded position{'s' * (len(self.real) != 1)}."]
        tokens = f"{length} token{'s' * (length != 1)}"
        prompt = "Prompt" if batch == 1 else f"Prompt index {self.prompt} of {batch} (from 0{default}),"
        said = [
            *opening(self.known, found),
            *self._asked(found, at_position),
            *where,
            *counted,
            f"{prompt} of {tokens}:" if batch == 1 else f"{prompt} {tokens}:",
        ]
        return [*typeset(said), Passage(text_of(self.known, self.prompt), lines=1)]

    def _asked(self, found: Any, at_position: bool) -> list[Item]:
        """The tokens that the numbers are about, where the result knows them."""
        target, against = (getattr(found, name, None) for name in ("target", "against"))
        if target is None:
            return []
        ids = [part for part in (target, against) if part is not None]
        if not at_position and any(len(set(self.row(part)[self.real].tolist())) > 1 for part in ids):
            return ["Target: of each position its own."]
        first, *other = (vocabulary_of(self.known).text(int(self.cell(part))) for part in ids)
        if not other:
            return ["Target", Quoted(first, after=".")]
        return ["Target", Quoted(first, after=","), "against", Quoted(other[0], after=".")]


def opening(known: Provenance, found: Any) -> list[Item]:
    """The model and the type of the numbers."""
    model = [Name(known.model)] if known.model else ["a model without a name"]
    return ["Model", *model, f"({known.config.n_layers} layers), {number_type(found, known)}."]


def number_type(found: Any, known: Provenance | None = None) -> str:
    """What the numbers were computed in."""
    own = dataclasses.replace(found, provenance=None) if isinstance(found, Result) else found
    types = [leaf.dtype for leaf in jax.tree.leaves(own) if hasattr(leaf, "dtype")]
    floats = [kind for kind in types if jax.numpy.issubdtype(kind, jax.numpy.floating)]
    widest = max(floats or types or [np.dtype(np.float64)], key=lambda kind: np.dtype(kind).itemsize)
    return typed(np.dtype(widest).name, known is not None and known.config.bfloat16_products)


def typed(dtype: str, bfloat16_products: bool) -> str:
    """The type of numbers, and of the products that they are sums of where that is another.

    >>> typed("float32", True), typed("float64", False)
    ('float32, bfloat16 products', 'float64')
    """
    return f"{dtype}, bfloat16 products" if bfloat16_products else dtype


def typeset(items: Sequence[Item]) -> list[Item]:
    """A caption's own words with minus signs in place of hyphens before numbers.

    >>> typeset(["Value -0.5 of -1e-06;", "zero-based"])
    ['Value −0.5 of −1e−06;', 'zero-based']
    """
    return [_HYPHEN.sub("−", item) if isinstance(item, str) else item for item in items]


def of_prompts(found: Result, count: int, what: str, *more: Item) -> list[Item]:
    """The caption of numbers of many prompts together.

    Args:
        what: what one of those that were counted is, such as ``prompt``.
    """
    counted = f"{count:,} {what}{'s' * (count != 1)}."
    known = found.provenance
    if known is None:
        return typeset([f"{number_type(found)}; {counted}", *more])
    batch = np.shape(known.tokens.ids)[0]
    which = "The prompt:" if batch == 1 else f"Of {batch:,} texts the first:"
    return [*typeset([*opening(known, found), counted, *more, which]), Passage(text_of(known, 0), lines=1)]


def text_of(known: Provenance, prompt: int) -> str:
    """A prompt's tokens as one text: a character of several tokens is whole in it alone."""
    ids, mask = np.asarray(known.tokens.ids)[prompt], np.asarray(known.tokens.mask)[prompt]
    kept = ids[mask].tolist()
    return vocabulary_of(known).decode(kept)


def vocabulary_of(known: Provenance) -> Vocabulary:
    return known.vocabulary or NumberedTokens()


def plain(values: Any) -> np.ndarray:
    """Numbers as NumPy's float64 (which holds bfloat16's and float32's exactly).

    Raises:
        LandedError: for values under ``jit`` or ``vmap``.
    """
    if not is_concrete(values):
        raise LandedError("Under jit or vmap a result has no values yet: draw what comes out.")
    return np.asarray(values).astype(np.float64)


def about(known: Provenance, target: Any, against: Any, chosen: Chosen, site: str = "final") -> list[Item]:
    """``' Rome' less ' Athens'``, from a result's ids; of what is no token the site that reads it."""
    if target is None:
        return [f"the value read at {site}"]
    texts = [vocabulary_of(known).text(int(chosen.cell(ids))) for ids in (target, against) if ids is not None]
    first, *other = (Quoted(text) for text in texts)
    return [first, *(["less", *other] if other else [])]
