"""One labelled sentence, and a matched pair of them."""

import functools
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

_ATTACHED = frozenset(".,")


@dataclass(frozen=True)
class Example:
    """A sentence in which one word has to be predicted.

    Every word and punctuation mark is one token, after a BOS token: word ``i`` is in column ``i + 1``.

    Attributes:
        task: the task's name.
        condition: the kind of sentence within the task, such as ``two attractors``.
        words: the sentence, with its answer.
        cut: the index of the word to predict; the words before it are the prompt.
        foil: the wrong answer for comparison.
        evidence: the last column before the answer in which the matched sentence has another token. Names of several
            words, and repeated words, differ in earlier columns too.
        combination: the unit that is either trained on or held out: a subject and a wording, a pair of names, …

    >>> example = Example("facts", "capital", ("The", "capital", "is", "Rome", "."), 3, "Paris", 2, ("Italy", "0"))
    >>> example.prompt, example.answer
    ('The capital is', 'Rome')
    """

    task: str
    condition: str
    words: tuple[str, ...]
    cut: int
    foil: str
    evidence: int
    combination: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The text before the answer."""
        return spell(self.words[: self.cut])

    @property
    def answer(self) -> str:
        """The right word."""
        return self.words[self.cut]


@dataclass(frozen=True)
class Pair:
    """Two prompts of one length that differ in the evidence for the answer, for activation patching.

    The answer of the corrupted prompt is the foil of the clean one. In a held-out pair, the combination of the clean
    sentence is held out.
    """

    clean: Example
    corrupted: Example


@dataclass(frozen=True)
class Task:
    """A kind of sentence.

    Attributes:
        conditions: the kinds within it, each of which is scored separately.
        words: all words of its sentences.
        draw: ``draw(chooser, condition, held_out)``: a pair whose clean sentence has a combination that is held out of
            the training, or one that is not.
        learn: a sentence for training, never of a combination that is held out in its condition.
    """

    name: str
    conditions: tuple[str, ...]
    words: frozenset[str]
    draw: Callable[[random.Random, str, bool], Pair]
    learn: Callable[[random.Random], tuple[str, ...]]


def spell(words: tuple[str, ...]) -> str:
    """Words as text.

    >>> spell(("Tom", "came", ",", "and", "left", "."))
    'Tom came, and left.'
    """
    return "".join(word if word in _ATTACHED or i == 0 else f" {word}" for i, word in enumerate(words))


@functools.lru_cache(maxsize=1 << 18)
def chance(*combination: str) -> float:
    """A hash of a combination as a number in [0, 1), the same on every machine; it decides what is held out.

    >>> chance("Mary", "John") == chance("Mary", "John") != chance("John", "Mary")
    True
    """
    digest = hashlib.blake2b("\0".join(combination).encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32


def capitalised(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words with the sentence's first letter in upper case."""
    return (words[0][0].upper() + words[0][1:], *words[1:])
