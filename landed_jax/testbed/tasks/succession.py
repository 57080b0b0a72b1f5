"""Succession: the day, month, season or number that follows. Held out: one wording of each item."""

import random
from dataclasses import dataclass

from landed_jax.testbed.example import Example, Pair, Task, capitalised, chance
from landed_jax.testbed.lexicon import DAYS, MONTHS, NUMBERS, ORDINALS, SEASONS

_NAME = "succession"


@dataclass(frozen=True)
class Series:
    """Words in their order; in a circle the first follows the last."""

    name: str
    words: tuple[str, ...]
    circle: bool

    @property
    def followers(self) -> dict[str, str]:
        """The next word, for each word that has one."""
        after = self.words[1:] + (self.words[:1] if self.circle else ())
        return dict(zip(self.words, after, strict=False))


SERIES = (
    Series("days", DAYS, True),
    Series("months", MONTHS, True),
    Series("seasons", SEASONS, True),
    Series("numbers", NUMBERS, False),
    Series("ordinals", ORDINALS, False),
)
_CONDITIONS = tuple(series.name for series in SERIES)

_WORDINGS = (
    "the next after {} is",
    "we know that {} is followed by",
    "in the right order , after {} comes",
    "in the list , the word after {} is",
    "start at {} , go one step , and you reach",
    "nothing comes between {} and",
)
_WORDS = frozenset(
    word for text in _WORDINGS for word in (*text.split(), text.split()[0].capitalize()) if word != "{}"
) | {word for series in SERIES for word in (*series.words, ".")}


def _pair(chooser: random.Random, condition: str, held_out: bool) -> Pair:
    """A sentence about a word of this series, and the same sentence about another word."""
    followers = SERIES[_CONDITIONS.index(condition)].followers
    word, other = chooser.sample(list(followers), 2)
    wording = int(chance(_NAME, word) * len(_WORDINGS))
    if not held_out:
        wording = chooser.choice([i for i in range(len(_WORDINGS)) if i != wording])

    def example(word: str, foil: str) -> Example:
        before, after = (part.split() for part in _WORDINGS[wording].split("{}"))
        words = capitalised((*before, word, *after, followers[word], "."))
        return Example(_NAME, condition, words, len(words) - 2, foil, len(before) + 1, (word, str(wording)))

    return Pair(example(word, followers[other]), example(other, followers[word]))


def _learn(chooser: random.Random) -> tuple[str, ...]:
    return _pair(chooser, chooser.choice(_CONDITIONS), False).clean.words


TASK = Task(_NAME, _CONDITIONS, _WORDS, _pair, _learn)
