"""Induction: a random sequence of words, repeated. Held out: pairs of neighbouring words.

Olsson et al. 2022, "In-context Learning and Induction Heads", measure the mechanism with such sequences.
"""

import random

from landed_jax.testbed.example import Example, Pair, Task, chance
from landed_jax.testbed.lexicon import GIFTS, NOUNS, PLACES

_NAME = "induction"
_CONDITIONS = ("second occurrence", "third occurrence")
SHORTEST, LONGEST = 4, 12

_HELD_OUT = 0.15
_PATIENCE = 5000
_POOL = (*(form for noun in NOUNS for form in noun), *GIFTS, *PLACES)
_WORDS = frozenset((*_POOL, "."))


def _pair(chooser: random.Random, condition: str, held_out: bool) -> Pair:
    """A repeated sequence, cut at a random word of this occurrence, and the same with another word in earlier ones.

    The first word of the second occurrence is unpredictable, so it is never the answer.
    """
    earlier = _CONDITIONS.index(condition) + 1
    sequence = _sequence(chooser, held_out)
    length = len(sequence)
    place = chooser.randrange(1 if earlier == 1 else 0, length)
    foil = chooser.choice([word for word in _POOL if word not in sequence])
    cut = earlier * length + place

    def example(sequence: tuple[str, ...], foil: str) -> Example:
        words = (*sequence * (earlier + 1), ".")
        return Example(_NAME, condition, words, cut, foil, cut - length + 1, sequence)

    changed = (*sequence[:place], foil, *sequence[place + 1 :])
    return Pair(example(sequence, foil), example(changed, sequence[place]))


def _sequence(chooser: random.Random, held_out: bool) -> tuple[str, ...]:
    """Distinct words whose pairs of neighbours (the last and the first included) are all held out, or none is."""

    def fits(a: str, b: str) -> bool:
        return (chance(_NAME, a, b) < _HELD_OUT) == held_out

    length = chooser.randint(SHORTEST, LONGEST)
    words = [chooser.choice(_POOL)]
    tried = 0
    while len(words) < length:
        if tried == _PATIENCE:  # there may be no word that fits between the last but one and the first
            words, tried = words[:1], 0
        tried += 1
        word = chooser.choice(_POOL)
        last = len(words) == length - 1
        if word not in words and fits(words[-1], word) and (not last or fits(word, words[0])):
            words.append(word)
    return tuple(words)


def _learn(chooser: random.Random) -> tuple[str, ...]:
    return _pair(chooser, chooser.choice(_CONDITIONS), False).clean.words


TASK = Task(_NAME, _CONDITIONS, _WORDS, _pair, _learn)
