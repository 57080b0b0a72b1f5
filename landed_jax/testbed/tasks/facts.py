"""Facts about the world: a subject, a relation, and one of several wordings. Held out: one wording of each fact."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from landed_jax.testbed.example import Example, Pair, Task, capitalised, chance
from landed_jax.testbed.world import ANIMALS, COUNTRIES, LANDMARKS, PEOPLE, THINGS

_NAME = "facts"


@dataclass(frozen=True)
class Relation:
    """The answers by subject, and the wordings: each sentence ends in the answer and a full stop."""

    name: str
    answers: Mapping[str, str]
    wordings: tuple[str, ...]

    def held_out_wording(self, subject: str) -> int:
        """The wording in which this subject never occurs in training."""
        return int(chance(_NAME, self.name, subject) * len(self.wordings))


_COUNTED = ("fruit", "vegetable", "flower", "nut")


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


RELATIONS = (
    Relation(
        "landmark's city",
        {place.name: place.city for place in LANDMARKS},
        (
            "{} is in the city of",
            "{} can be found in the city of",
            "visitors who want to see {} travel to the city of",
            "if you want to see {} , buy a ticket to",
            "{} is one of the great sights of",
            "the city that is famous for {} is",
        ),
    ),
    Relation(
        "landmark's country",
        {place.name: place.country for place in LANDMARKS},
        (
            "{} is in the country of",
            "{} can be found in the country of",
            "visitors who want to see {} need a map of",
            "on the map , {} lies in the country of",
            "the country that is famous for {} is",
        ),
    ),
    Relation(
        "capital",
        {country.name: country.capital for country in COUNTRIES},
        (
            "the capital of {} is",
            "the capital city of {} is called",
            "the government of {} sits in",
            "the leaders of {} meet in the city of",
            "in {} , the capital is",
        ),
    ),
    Relation(
        "language",
        {country.name: country.language for country in COUNTRIES},
        (
            "the official language of {} is",
            "the laws of {} are written in",
            "schools in {} teach children to read in",
            "in {} , the government speaks",
            "if you travel to {} , learn some",
        ),
    ),
    Relation(
        "continent",
        {country.name: country.continent for country in COUNTRIES},
        (
            "{} is a country on the continent of",
            "the continent of {} is",
            "{} is one of the countries of",
            "a map of {} is part of a map of",
            "anybody in {} is somewhere in",
        ),
    ),
    Relation(
        "currency",
        {country.name: country.currency for country in COUNTRIES},
        (
            "in {} , people pay with the",
            "the currency of {} is the",
            "the shops of {} take the",
            "the money of {} is called the",
            "a traveller to {} must change money into the",
        ),
    ),
    Relation(
        "occupation",
        {person.name: person.occupation for person in PEOPLE},
        (
            "{} was a famous",
            "{} is remembered as a great",
            "people still admire {} , the",
            "in the books , {} is called a great",
            "the story of {} is the story of a great",
        ),
    ),
    Relation(
        "birthplace",
        {person.name: person.country for person in PEOPLE},
        (
            "{} was born in the country of",
            "{} came into the world in",
            "the birthplace of {} is in",
            "the mother of {} gave birth in",
            "the life of {} began in",
        ),
    ),
    Relation(
        "kind of animal",
        {_article(animal.name): animal.kind for animal in ANIMALS},
        (
            "{} is a kind of",
            "{} is a type of",
            "every book says that {} is a true",
            "if it is {} , it is some kind of",
            "in biology , {} counts as a true",
        ),
    ),
    Relation(
        "young animal",
        {_article(animal.name): animal.young for animal in ANIMALS},
        (
            "the word for the young of {} is",
            "the young of {} is known as the",
            "{} starts its life as a small",
            "before it grows up , {} is a little",
            "in spring , {} looks after its",
        ),
    ),
    Relation(
        "colour",
        {_article(t.name) if t.category in _COUNTED else t.name: t.colour for t in THINGS},
        (
            "the colour of {} is",
            "the colour that people know {} by is",
            "to paint a picture of {} , choose the colour",
            "children draw {} with a pencil that is",
            "if you think of {} , you think of the colour",
        ),
    ),
)
_CONDITIONS = tuple(relation.name for relation in RELATIONS)


def _pair(chooser: random.Random, condition: str, held_out: bool) -> Pair:
    """A sentence of this relation, and the same wording about another subject with as many words."""
    relation = RELATIONS[_CONDITIONS.index(condition)]
    subject = chooser.choice(list(relation.answers))
    wording = relation.held_out_wording(subject)
    if not held_out:
        wording = chooser.choice([i for i in range(len(relation.wordings)) if i != wording])
    answer = relation.answers[subject]
    others = [
        other
        for other, wrong in relation.answers.items()
        if wrong != answer and len(other.split()) == len(subject.split())
    ]
    other = chooser.choice(others)
    said, unsaid = (_sentence(relation, named, wording) for named in (subject, other))
    cut = len(said) - 2
    # Two names may share words ("the Red Fort", "the Agra Fort"); BOS is column 0.
    evidence = max(i for i in range(cut) if said[i] != unsaid[i]) + 1

    def example(named: str, words: tuple[str, ...], foil: str) -> Example:
        return Example(_NAME, condition, words, cut, foil, evidence, (condition, named, str(wording)))

    return Pair(example(subject, said, unsaid[cut]), example(other, unsaid, answer))


def _sentence(relation: Relation, subject: str, wording: int) -> tuple[str, ...]:
    before, after = relation.wordings[wording].split("{}")
    return capitalised((*before.split(), *subject.split(), *after.split(), relation.answers[subject], "."))


# All words of all possible sentences.
_WORDS = frozenset(
    word
    for relation in RELATIONS
    for subject in relation.answers
    for wording in range(len(relation.wordings))
    for word in _sentence(relation, subject, wording)
)


def _learn(chooser: random.Random) -> tuple[str, ...]:
    return _pair(chooser, chooser.choice(_CONDITIONS), False).clean.words


TASK = Task(_NAME, _CONDITIONS, _WORDS, _pair, _learn)
