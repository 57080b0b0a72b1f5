"""Subject–verb agreement: the number of the subject, whatever noun stands before the verb.

After Linzen et al., Assessing the Ability of LSTMs to Learn Syntax-Sensitive Dependencies, 2016, arXiv:1611.01368, and
Marvin and Linzen, Targeted Syntactic Evaluation of Language Models, 2018, arXiv:1808.09031. The noun between subject
and verb has the other number. The corrupted prompt has the subject in the other number.
"""

import random

from landed_jax.tasks._prompt import Answers, Prompt, Task

_SUBJECTS = (
    *("boy", "girl", "doctor", "teacher", "farmer", "writer", "student", "manager", "painter", "pilot", "lawyer"),
    *("officer", "artist", "driver", "singer", "guard"),
)
_OTHERS = ("car", "house", "tree", "table", "boat", "river", "window", "building", "garden", "door", "book", "box")
_PEOPLE = ("parent", "player", "actor", "king", "friend", "neighbor", "customer", "visitor")
_NEAR = ("near", "behind", "beside", "in front of", "next to")
_VERBS = ("like", "know", "see", "meet", "help", "visit")
_ANSWERS = ((" is", " are"), (" was", " were"), (" has", " have"))
_SIMPLE, _PHRASE, _CLAUSE = "simple", "prepositional phrase", "relative clause"


def _draw(chooser: random.Random, condition: str) -> Prompt:
    subject, plural = chooser.choice(_SUBJECTS), chooser.random() < 0.5
    between = _between(chooser, condition, plural)
    pair = chooser.choice(_ANSWERS)
    clean, corrupted = (f"The {_in_number(subject, many)}{between}" for many in (plural, not plural))
    return Prompt(condition, clean, corrupted, (Answers((pair[plural],), (pair[not plural],)),))


def _between(chooser: random.Random, condition: str, plural: bool) -> str:
    """What stands between subject and verb: its noun has the number that the subject has not."""
    if condition == _PHRASE:
        return f" {chooser.choice(_NEAR)} the {_in_number(chooser.choice(_OTHERS), not plural)}"
    if condition == _CLAUSE:
        verb = chooser.choice(_VERBS)
        return f" that the {_in_number(chooser.choice(_PEOPLE), not plural)} {verb if not plural else verb + 's'}"
    return ""


def _in_number(noun: str, plural: bool) -> str:
    if not plural:
        return noun
    return f"{noun}es" if noun.endswith("x") else f"{noun}s"


TASK = Task("agreement", (_SIMPLE, _PHRASE, _CLAUSE), _draw)
