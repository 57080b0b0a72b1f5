"""Short stories in the past tense, without labels, so that the language has other sentences than tasks."""

import random

from landed_jax.testbed.example import capitalised
from landed_jax.testbed.lexicon import (
    ADJECTIVES,
    ADVERBS,
    BOYS,
    GIFTS,
    GIRLS,
    NOUNS,
    PLACES,
    TRANSITIVE,
    VERBS,
)

_SINGULAR = tuple(noun[0] for noun in NOUNS)
_PAST = tuple(verb[2] for verb in VERBS)
_SLOTS = {
    "{place}": PLACES,
    "{gift}": GIFTS,
    "{noun}": _SINGULAR,
    "{adjective}": ADJECTIVES,
    "{adverb}": ADVERBS,
    "{past}": _PAST,
    "{did}": TRANSITIVE,
}
_OPENINGS = (
    "{name} lived near the {place} .",
    "once there was a {noun} , and the name of the {noun} was {name} .",
    "one day , {name} went to the {place} .",
    "{name} had a {gift} that was very {adjective} .",
    "early in the day , {name} {past} {adverb} .",
)
_MIDDLES = (
    "{she} saw the {adjective} {noun} at the {place} .",
    "{she} {did} the {gift} and {past} .",
    "in the {place} , {she} {did} a {gift} .",
    "the {noun} {past} {adverb} .",
    "the {adjective} {noun} {did} the {gift} .",
    "then {she} {past} until the {noun} came .",
    "but the {gift} was not {adjective} .",
)
_ENDINGS = (
    "{she} was very {adjective} .",
    "at last , {she} went home with the {gift} .",
    "after that , {she} never {did} the {gift} again .",
    "and so {she} {past} {adverb} .",
)
_TEXTS = (*_OPENINGS, *_MIDDLES, *_ENDINGS)
WORDS = (
    frozenset(word for text in _TEXTS for word in (*text.split(), text.split()[0].capitalize()) if "{" not in word)
    | {word for words in _SLOTS.values() for word in words}
    | {*GIRLS, *BOYS, "she", "he", "She", "He"}
)


def sentences(chooser: random.Random) -> list[tuple[str, ...]]:
    """A story about one person."""
    girl = chooser.random() < 0.5
    named = {"{name}": chooser.choice(GIRLS if girl else BOYS), "{she}": "she" if girl else "he"}
    texts = [
        chooser.choice(_OPENINGS),
        *chooser.sample(_MIDDLES, chooser.randint(1, 2)),
        chooser.choice(_ENDINGS),
    ]
    return [_fill(chooser, text, named) for text in texts]


def _fill(chooser: random.Random, text: str, named: dict[str, str]) -> tuple[str, ...]:
    chosen = dict(named)
    words = []
    for word in text.split():
        if word in _SLOTS and word not in chosen:
            chosen[word] = chooser.choice(_SLOTS[word])
        words.append(chosen.get(word, word))
    return capitalised(tuple(words))
