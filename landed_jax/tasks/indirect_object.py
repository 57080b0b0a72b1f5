"""Indirect object identification: of two names, the one that is not repeated.

The task of Wang et al., Interpretability in the Wild, 2022, arXiv:2211.00593. The corrupted prompt repeats the other
name, so that its answer is the clean prompt's wrong one.
"""

import random

from landed_jax.tasks._prompt import Answers, Prompt, Task

_NAMES = (
    *("Mary", "John", "Tom", "James", "Anna", "Paul", "Sarah", "David", "Peter", "Alice", "Mark", "Laura", "Jack"),
    *("Emma", "Daniel", "Kate", "Simon", "Lisa", "George", "Helen", "Robert", "Jane", "Michael", "Susan", "Richard"),
)
_PLACES = ("park", "store", "school", "office", "station", "garden", "house", "restaurant", "hospital", "library")
_GIFTS = ("ball", "book", "ring", "letter", "drink", "key", "box", "flower", "hat", "pen")
_WORDINGS = (
    "Then, {a} and {b} went to the {place}. {subject} gave a {gift} to",
    "When {a} and {b} got a {gift} at the {place}, {subject} decided to give it to",
    "After {a} and {b} went to the {place}, {subject} gave a {gift} to",
    "While {a} and {b} were working at the {place}, {subject} gave a {gift} to",
    "{a} and {b} had a long day at the {place}. Afterwards {subject} handed the {gift} to",
    "The {place} that {a} and {b} went to had a {gift}. {subject} gave it to",
)
_FIRST, _SECOND = "object named first", "subject named first"


def _draw(chooser: random.Random, condition: str) -> Prompt:
    subject, other = chooser.sample(_NAMES, 2)
    a, b = (other, subject) if condition == _FIRST else (subject, other)
    words = {"a": a, "b": b, "place": chooser.choice(_PLACES), "gift": chooser.choice(_GIFTS)}
    wording = chooser.choice(_WORDINGS)
    clean, corrupted = (wording.format(subject=name, **words) for name in (subject, other))
    return Prompt(condition, clean, corrupted, (Answers((f" {other}",), (f" {subject}",)),))


TASK = Task("indirect object", (_FIRST, _SECOND), _draw)
