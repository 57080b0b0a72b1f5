"""Which prompt and which position of a result is drawn, and what the caption says of them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from landed_jax.analysis.attribution._result import recorded_token
from landed_jax.errors import LandedError, shown
from landed_jax.numerics import is_concrete, precision_of
from landed_jax.provenance import Provenance
from landed_jax.results.result import Result
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.vocabulary import NumberedTokens, Vocabulary


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
        """``7 ' of'``."""
        return Quoted(self._text(column), f"{column} ")

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
        default = "" if self.given or batch == 1 else " (the first: prompt= chooses another)"
        length = len(self.columns)
        if at_position:
            where = ["Position", Quoted(self._text(self.column), f"{self.column} ", ".")]
        else:
            where = [f"{len(self.real)} recorded position{'s' * (len(self.real) != 1)}."]
        tokens = f"{length} token{'s' * (length != 1)}"
        prompt = f"Prompt of {tokens}:" if batch == 1 else f"Prompt {self.prompt} of {batch}{default}, {tokens}:"
        return [
            *opening(self.known, found),
            *where,
            *counted,
            prompt,
            Passage(text_of(self.known, self.prompt), lines=1),
        ]


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
    return precision_of(known is not None and known.config.bfloat16_products, widest)


def of_prompts(found: Result, count: int, what: str, *more: Item) -> list[Item]:
    """The caption of numbers of many prompts together.

    Args:
        what: what one of those that were counted is, such as ``prompt``.
    """
    counted = f"{count:,} {what}{'s' * (count != 1)}."
    known = found.provenance
    if known is None:
        return [f"{number_type(found)}; {counted}", *more]
    batch = np.shape(known.tokens.ids)[0]
    which = "The prompt:" if batch == 1 else f"Of {batch:,} texts the first:"
    return [*opening(known, found), counted, *more, which, Passage(text_of(known, 0), lines=1)]


def text_of(known: Provenance, prompt: int) -> str:
    """A prompt's tokens as one text."""
    ids, mask = np.asarray(known.tokens.ids)[prompt], np.asarray(known.tokens.mask)[prompt]
    kept = ids[mask].tolist()
    if known.vocabulary is None:
        return " ".join(map(NumberedTokens().text, kept))
    return "".join(map(known.vocabulary.text, kept))


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


def about(known: Provenance, target: Any, against: Any, chosen: Chosen) -> list[Item]:
    """``' Rome' less ' Athens'``, from a result's ids."""
    if target is None:
        return ["what was read"]
    texts = [vocabulary_of(known).text(int(chosen.cell(ids))) for ids in (target, against) if ids is not None]
    first, *other = (Quoted(text) for text in texts)
    return [first, *(["less", *other] if other else [])]
