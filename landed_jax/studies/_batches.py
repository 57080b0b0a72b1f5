"""Prompts as batches of equal shapes: a window is read, sorted by length, and cut."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int

from landed_jax.analysis.scale._position_classes import is_delimiter
from landed_jax.errors import LandedError
from landed_jax.model import Model
from landed_jax.studies._sources import Given, Source
from landed_jax.tasks._pairs import NO_ANSWER
from landed_jax.tokens import bucket_length

T = TypeVar("T")

TOGETHER = 64
"""Prompts of one batch."""
WINDOW = 16 * TOGETHER
"""Prompts that are sorted by length together, and stored together."""
_TOKENS = 64 * TOGETHER  # of one program at most, padding included: longer prompts run fewer at a time

REASONS = ("", "unreadable", "empty", "too long", "too short", "answers", "ids")
"""Why a prompt has no numbers; "" where it has. What is not finite comes after these, by variable."""
REASONS_IN_WORDS = {
    "unreadable": "could not be read",
    "empty": "hold no token",
    "too long": "are longer than the model's context",
    "too short": "have no token at the asked position",
    "answers": "have an answer that is no single token",
    "ids": "have a token that the model does not have",
    "not finite": "gave a number that is not finite",
}


@dataclass(frozen=True)
class Entry:
    """A prompt in ids; without any where there is a reason against it."""

    number: int
    ids: tuple[int, ...]
    right: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    reason: int = 0


@dataclass(frozen=True)
class Part:
    """What one program computes: rows of a batch, in one shape.

    Attributes:
        count: of the rows that are prompts; those behind them repeat the last, so that the shape is one of few.
    """

    ids: Int[np.ndarray, "row position"]
    mask: Bool[np.ndarray, "row position"]
    right: Int[np.ndarray, "row answer"]
    wrong: Int[np.ndarray, "row answer"]
    delimiter: Bool[np.ndarray, "row position"]
    count: int


@dataclass(frozen=True)
class Batch:
    """Prompts of about one length.

    Attributes:
        first: the number of rows before this batch's.
        entries: a row each, those without numbers first.
        window: how many prompts, and the digest of all of them, were read up to the end of the batch's window.
        last: whether the window ends with it.
    """

    first: int
    entries: tuple[Entry, ...]
    window: tuple[int, str]
    last: bool


class _Window(NamedTuple):
    """So many prompts from `first` on, sorted by length; `done` of its batches are done."""

    first: int
    count: int
    done: int
    entries: list[Entry]
    known: tuple[int, str]


class Reader:
    """Prompts of a source as a model reads them, in batches.

    Args:
        position: the asked column, negative.
        add_special_tokens: as for `Vocabulary.encode`.

    Raises:
        LandedError: for a position that is not negative.
    """

    def __init__(self, model: Model, source: Source, *, position: int = -1, add_special_tokens: bool = True) -> None:
        if position >= 0:
            raise LandedError("Prompts have many lengths: count the position from their end, -1 for the last token.")
        self.model, self.source, self.position = model, source, position
        self.special = add_special_tokens
        self._tokens: dict[str, int | None] = {}
        size = model.config.vocab_size
        self._delimiter, self._looked_up = np.zeros(size, bool), np.zeros(size, bool)

    def batches(self, done: int = 0, known: tuple[int, str] | None = None) -> Iterator[Batch]:
        """Every batch but the first `done`. The prompts of whole windows that are done are read, and not encoded.

        Args:
            known: how many prompts were read, and their digest, when `done` batches were.

        Raises:
            LandedError: where the prompts are not those that are known.
        """
        for window in one_ahead(self._windows(done, known)):
            cuts = range(0, window.count, TOGETHER)
            for place in range(min(window.done, len(cuts)), len(cuts)):
                part = tuple(window.entries[cuts[place] : cuts[place] + TOGETHER])
                yield Batch(window.first + cuts[place], part, window.known, place == len(cuts) - 1)

    def _windows(self, done: int, known: tuple[int, str] | None) -> Iterator["_Window"]:
        first = 0
        for number, (window, (until, digest)) in enumerate(_read(self.source)):
            if known and _are_others(known, first, until, digest, ended=not window):
                raise LandedError(f"{self.source.name} no longer holds the prompts that this study began with.")
            if not window:
                return
            skipped = max(done - number * (WINDOW // TOGETHER), 0)
            entries = [] if skipped * TOGETHER >= len(window) else self._sorted(window, first)
            yield _Window(first, len(window), skipped, entries, (until, digest))
            first = until

    def _sorted(self, window: Sequence[Given], first: int) -> list[Entry]:
        texts = [given.prompt for given in window if isinstance(given.prompt, str) and given.prompt]
        encoded = dict(zip(texts, self._encoded(texts), strict=True))
        entries = [
            self._entry(number, given, encoded.get(given.prompt) if isinstance(given.prompt, str) else given.prompt)
            for number, given in enumerate(window, first)
        ]
        return sorted(entries, key=lambda entry: (len(entry.ids), entry.number))

    def _encoded(self, texts: list[str]) -> list[list[int] | None]:
        vocabulary = self.model.vocabulary
        if texts and vocabulary is None:
            raise LandedError(f"{self.model.no_vocabulary or 'This model has no tokenizer.'} Give token ids (--ids).")
        if vocabulary is None:
            return []
        try:
            return list(vocabulary.encode_all(texts, add_special_tokens=self.special))
        except LandedError:  # one of them: each by itself says which
            return [self._alone(text) for text in texts]

    def _alone(self, text: str) -> list[int] | None:
        assert self.model.vocabulary is not None  # `_encoded` has looked
        try:
            return self.model.vocabulary.encode(text, add_special_tokens=self.special)
        except LandedError:
            return None

    def _entry(self, number: int, given: Given, ids: Sequence[int] | None) -> Entry:
        def refused(reason: str) -> Entry:
            return Entry(number, (), reason=REASONS.index(reason))

        config = self.model.config
        if given.unreadable or (ids is None and given.prompt):
            return refused("unreadable")
        if not ids:
            return refused("empty")
        if not all(0 <= token < config.vocab_size for token in ids):
            return refused("ids")
        if len(ids) > config.max_positions:
            return refused("too long")
        if len(ids) < -self.position:
            return refused("too short")
        for answers in given.answers:
            sides = [[self._token(text) for text in side] for side in answers]
            right, wrong = (tuple(token for token in side if token is not None) for side in sides)
            if right and [len(right), len(wrong)] == [len(side) for side in sides]:
                return Entry(number, tuple(ids), right, wrong)
        return refused("answers") if given.answers else Entry(number, tuple(ids))

    def _token(self, text: str) -> int | None:
        if text not in self._tokens:
            from landed_jax.vocabulary import NumberedTokens

            try:
                found = (self.model.vocabulary or NumberedTokens()).token_id(text)
            except LandedError:
                found = None
            self._tokens[text] = found if found is not None and found < self.model.config.vocab_size else None
        return self._tokens[text]

    def parts(self, batch: Batch) -> Iterator[Part]:
        """The programs' inputs, in the order of those entries that have ids."""
        entries = [entry for entry in batch.entries if entry.ids]
        if not entries:
            return
        length = _padded_length(len(entries[-1].ids))
        rows = _rows(length, len(entries))
        width = _width(max(max(len(entry.right), len(entry.wrong)) for entry in entries))
        for first in range(0, len(entries), rows):
            some = entries[first : first + rows]
            filled = [*some, *some[-1:] * (rows - len(some))]
            ids, mask = np.zeros((rows, length), np.int32), np.zeros((rows, length), bool)
            for row, entry in enumerate(filled):
                ids[row, length - len(entry.ids) :] = entry.ids
                mask[row, length - len(entry.ids) :] = True
            right, wrong = (_filled([getattr(entry, side) for entry in filled], width) for side in ("right", "wrong"))
            yield Part(ids, mask, right, wrong, self._delimiters(ids, mask), len(some))

    def _delimiters(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Which tokens are delimiters by their text; none where there is no tokenizer."""
        vocabulary = self.model.vocabulary
        if vocabulary is None:
            return np.zeros(ids.shape, bool)
        for token in np.unique(ids[mask]):
            if not self._looked_up[token]:
                self._delimiter[token] = is_delimiter(vocabulary.text(int(token)))
                self._looked_up[token] = True
        return self._delimiter[ids] & mask


def known_of(source: Source) -> list[tuple[int, str] | None]:
    """What a study of these prompts knows of them, at its beginning and after every window: how many, their digest.

    >>> from landed_jax.studies._sources import source_of
    >>> before, after = known_of(source_of(["To be", "or not"]))
    >>> before is None, after[0]
    (True, 2)
    """
    return [None, *(known for window, known in _read(source) if window)]


def _read(source: Source) -> Iterator[tuple[list[Given], tuple[int, str]]]:
    """Window by window, with how many prompts there are up to its end and their digest; the last one is empty."""
    digest, until = hashlib.sha256(), 0
    givens = source.read()
    while True:
        window = list(itertools.islice(givens, WINDOW))
        for given in window:
            digest.update(json.dumps([given.prompt, given.answers, given.unreadable]).encode() + b"\n")
        until += len(window)
        yield window, (until, digest.hexdigest())
        if not window:
            return


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same, each made in a thread while the one before it is used.

    >>> list(one_ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(list, itertools.islice(items, 1))
        while found := ahead.result():
            ahead = pool.submit(list, itertools.islice(items, 1))
            yield found[0]


def _are_others(known: tuple[int, str], first: int, until: int, digest: str, *, ended: bool) -> bool:
    """Whether prompts that were read up to `until`, in a window from `first` on, are not those that are known."""
    count, before = known
    return (until == count and digest != before) or first < count < until or (ended and until < count)


def _padded_length(length: int) -> int:
    """A multiple of 8 up to 32, and then a `bucket_length`: most prompts of a study are short.

    >>> [_padded_length(n) for n in (3, 9, 32, 33)]
    [8, 16, 32, 64]
    """
    return -(-length // 8) * 8 if length <= 32 else bucket_length(length)


def _rows(length: int, wanted: int) -> int:
    """How many prompts of a length run at a time: a power of two."""
    most = max(1, min(TOGETHER, _TOKENS // length))
    return min(1 << (most.bit_length() - 1), 1 << (wanted - 1).bit_length())


def _width(answers: int) -> int:
    return 1 << (answers - 1).bit_length() if answers else 0


def _filled(answers: Sequence[Sequence[int]], width: int) -> np.ndarray:
    found = np.full((len(answers), width), NO_ANSWER, np.int32)
    for row, ids in enumerate(answers):
        found[row, : len(ids)] = ids
    return found
