"""Subject and verb agree in number, with nouns of the other number (attractors) between them.

Held out: without attractors, pairs of a subject and the verb that directly follows it; with attractors, pairs of a
subject and a noun that follows it.

(A verb that never directly follows a subject in training follows it with nouns between.)
"""

import random

from landed_jax.testbed.example import Example, Pair, Task, chance
from landed_jax.testbed.lexicon import ADJECTIVES, ADVERBS, GIFTS, NOUNS, PREPOSITIONS, VERBS

_NAME = "agreement"
_CONDITIONS = ("no attractor", "one attractor", "two attractors", "three attractors")

_HELD_OUT = 0.15
_BE = (("is", "are"), ("was", "were"))
_HAVE = ("has", "have")
_FORMS = (*_BE, _HAVE, *((verb[0], verb[1]) for verb in VERBS))
_WORDS = frozenset(
    ["The", "the", "a", ".", *PREPOSITIONS, *ADJECTIVES, *ADVERBS, *GIFTS]
    + [form for forms in (*_FORMS, *NOUNS) for form in forms]
)


def _pair(chooser: random.Random, condition: str, held_out: bool) -> Pair:
    """A sentence whose attractors all differ from the subject in number, and the one with the subject's other form."""
    number = chooser.randrange(2)
    between = [1 - number] * _CONDITIONS.index(condition)
    return _draw(chooser, number, between, held_out)


def _sentence(chooser: random.Random) -> tuple[str, ...]:
    """A sentence for training, in which the nouns between may have either number."""
    between = [chooser.randrange(2) for _ in range(chooser.randrange(len(_CONDITIONS)))]
    return _draw(chooser, chooser.randrange(2), between, False).clean.words


def _draw(chooser: random.Random, number: int, between: list[int], held_out: bool) -> Pair:
    noun = chooser.choice(NOUNS)
    forms = chooser.choice(_FORMS)
    if not between:
        while (chance(_NAME, noun[0], forms[0]) < _HELD_OUT) != held_out:
            forms = chooser.choice(_FORMS)
    middle: list[str] = []
    others: list[str] = []
    for other_number in between:
        other = chooser.choice(NOUNS)
        while other in (noun, *others) or (chance(_NAME, noun[0], other[0]) < _HELD_OUT) != held_out:
            other = chooser.choice(NOUNS)
        others.append(other[0])
        middle += [chooser.choice(PREPOSITIONS), "the", other[other_number]]
    start = ("The", chooser.choice(ADJECTIVES)) if chooser.random() < 0.3 else ("The",)
    rest = _rest(chooser, forms)
    condition = _CONDITIONS[len(between)]
    combination = (noun[0], *(others or [forms[0]]))

    def example(number: int) -> Example:
        words = (*start, noun[number], *middle, forms[number], *rest, ".")
        cut = len(start) + 1 + len(middle)
        return Example(_NAME, condition, words, cut, forms[1 - number], len(start) + 1, combination)

    return Pair(example(number), example(1 - number))


def _rest(chooser: random.Random, forms: tuple[str, str]) -> tuple[str, ...]:
    if forms in _BE:
        return (chooser.choice(ADJECTIVES),)
    if forms == _HAVE:
        return ("a", chooser.choice(GIFTS))
    return (chooser.choice(ADVERBS),)


TASK = Task(_NAME, _CONDITIONS, _WORDS, _pair, _sentence)
