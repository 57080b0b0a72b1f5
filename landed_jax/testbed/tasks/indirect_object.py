"""Indirect object identification: of two names, the one that is not repeated. Held out: pairs of names.

Wang et al. 2022, "Interpretability in the Wild" (arXiv:2211.00593), posed the task.
"""

import random

from landed_jax.testbed.example import Example, Pair, Task, capitalised, chance
from landed_jax.testbed.lexicon import GIFTS, NAMES, PLACES

_NAME = "indirect object"
_CONDITIONS = ("object named first", "subject named first")

_HELD_OUT = 0.15
_WORDINGS = (
    "when {a} and {b} went to the {place} , {subject} gave a {gift} to {object} .",
    "after {a} and {b} met at the {place} , {subject} handed a {gift} to {object} .",
    "{a} and {b} sat in the {place} , and {subject} showed the {gift} to {object} .",
    "while {a} and {b} were walking to the {place} , {subject} offered a {gift} to {object} .",
    "{a} and {b} found a {gift} , and {subject} gave it to {object} .",
    "then {a} and {b} came to the {place} , where {subject} passed a {gift} to {object} .",
)
_WORDS = frozenset(
    word for text in _WORDINGS for word in (*text.split(), text.split()[0].capitalize()) if "{" not in word
) | set(GIFTS + NAMES + PLACES)


def _pair(chooser: random.Random, condition: str, held_out: bool) -> Pair:
    """A sentence, and the same sentence with the other name repeated."""
    subject, other = chooser.sample(NAMES, 2)
    while (chance(_NAME, *sorted((subject, other))) < _HELD_OUT) != held_out:
        subject, other = chooser.sample(NAMES, 2)
    first, second = (other, subject) if condition == _CONDITIONS[0] else (subject, other)
    wording = chooser.choice(_WORDINGS).split()
    place, gift = chooser.choice(PLACES), chooser.choice(GIFTS)

    def example(subject: str, other: str) -> Example:
        named = {
            "{a}": first,
            "{b}": second,
            "{place}": place,
            "{gift}": gift,
            "{subject}": subject,
            "{object}": other,
        }
        words = capitalised(tuple(named.get(word, word) for word in wording))
        evidence = wording.index("{subject}") + 1
        condition = _CONDITIONS[0] if first == other else _CONDITIONS[1]
        return Example(_NAME, condition, words, wording.index("{object}"), subject, evidence, (first, second))

    return Pair(example(subject, other), example(other, subject))


def _learn(chooser: random.Random) -> tuple[str, ...]:
    return _pair(chooser, chooser.choice(_CONDITIONS), False).clean.words


TASK = Task(_NAME, _CONDITIONS, _WORDS, _pair, _learn)
