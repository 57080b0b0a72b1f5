import os
import random
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest

from landed_jax.errors import LandedError
from landed_jax.testbed.language import BOS, EOS, ROW, SPECIAL, TASKS, Rows, conditions, pairs, words
from landed_jax.testbed.lexicon import NAMES, NOUNS
from landed_jax.testbed.tasks import facts, induction, succession
from landed_jax.testbed.tasks.stories import sentences
from landed_jax.testbed.tokenizer import build_tokenizer
from landed_jax.vocabulary import Vocabulary

CONDITIONS = list(conditions())


@pytest.fixture(scope="module")
def learnt() -> list[tuple[str, ...]]:
    """The sentences of the first 60 steps of the training."""
    rows = Rows(0)
    return [sentence for step in range(60) for row in range(64) for sentence in rows.text(step, row)]


def held_out(task: str, count: int = 300) -> list:
    return [pair.clean for name, condition in CONDITIONS if name == task for pair in pairs(name, condition, count)]


@pytest.mark.parametrize(("task", "condition"), CONDITIONS)
@pytest.mark.parametrize("held", [True, False])
def test_pairs_are_matched(task: str, condition: str, held: bool) -> None:
    known = set(words())
    for pair in pairs(task, condition, 50, held_out=held):
        clean, corrupted = pair.clean, pair.corrupted
        assert clean.task == task and clean.condition == condition
        assert clean.answer != clean.foil
        assert (corrupted.answer, corrupted.foil) == (clean.foil, clean.answer)
        assert clean.cut == corrupted.cut and len(clean.words) == len(corrupted.words)
        different = [i for i in range(clean.cut) if clean.words[i] != corrupted.words[i]]
        assert clean.evidence - 1 in different and clean.evidence == corrupted.evidence
        assert {*clean.words, *corrupted.words, clean.foil} <= known


def test_a_word_is_a_token_and_text_comes_back() -> None:
    vocabulary = Vocabulary(build_tokenizer(64))
    for task, condition in CONDITIONS:
        for pair in pairs(task, condition, 20):
            ids = vocabulary.encode(pair.clean.prompt)
            assert len(ids) == pair.clean.cut + 1 and ids[0] == SPECIAL.index(BOS)
            assert vocabulary.decode(ids).removeprefix(BOS).strip() == pair.clean.prompt
            answer = vocabulary.token_id(f" {pair.clean.answer}")
            assert vocabulary.encode(f"{pair.clean.prompt} {pair.clean.answer}") == [*ids, answer]


def test_one_wording_of_each_fact_is_never_learnt(learnt: list[tuple[str, ...]]) -> None:
    known = set(learnt)
    for relation in facts.RELATIONS:
        for subject in relation.answers:
            every = [facts._sentence(relation, subject, i) for i in range(len(relation.wordings))]
            held = relation.held_out_wording(subject)
            assert every[held] not in known
    wordings = [[r.held_out_wording(s) for s in r.answers] for r in facts.RELATIONS]
    assert all(set(found) == set(range(len(r.wordings))) for found, r in zip(wordings, facts.RELATIONS, strict=True))
    examples = held_out("facts")
    assert not {example.words for example in examples} & known
    # and each is a fact that is learnt in other words
    said = {word for words in learnt for word in words}
    assert {example.answer for example in examples} <= said


def test_one_wording_of_each_successor_is_never_learnt(learnt: list[tuple[str, ...]]) -> None:
    assert not {example.words for example in held_out("succession")} & set(learnt)
    seen = {example.combination[0] for example in held_out("succession", 2000)}
    assert seen == {word for series in succession.SERIES for word in series.followers}


def test_held_out_names_never_meet(learnt: list[tuple[str, ...]]) -> None:
    names = set(NAMES)
    together = {frozenset(names & set(sentence)) for sentence in learnt}
    held = {frozenset(example.combination) for example in held_out("indirect object")}
    assert held and all(len(pair) == 2 for pair in held)
    assert not held & together
    assert any(len(pair) == 2 for pair in together)


def test_held_out_nouns_never_meet(learnt: list[tuple[str, ...]]) -> None:
    number = {form: noun[0] for noun in NOUNS for form in noun}

    def in_order(sentence: Iterable[str]) -> list[str]:
        return [number[word] for word in sentence if word in number]

    # Only agreement says "the NOUN near the NOUN"; in a sequence to be repeated, nouns have no "the".
    met = {
        (first, other)
        for sentence in learnt
        if sentence[0] == "The"
        for first, *others in [in_order(sentence) or [""]]
        for other in others
    }
    held = {
        (first, other)
        for example in held_out("agreement")
        if example.condition != "no attractor"
        for first, *others in [example.combination]
        for other in others
    }
    assert met and held and not met & held


def test_held_out_subjects_and_verbs_never_meet(learnt: list[tuple[str, ...]]) -> None:
    short = {sentence[:3] for sentence in learnt if sentence[0] == "The"}
    plain = [e for e in held_out("agreement") if e.condition == "no attractor" and e.cut == 2]
    assert plain and not {example.words[:3] for example in plain} & short


def test_held_out_neighbours_never_meet(learnt: list[tuple[str, ...]]) -> None:
    met = {pair for sentence in learnt for pair in pairwise(sentence)}
    held = {pair for example in held_out("induction") for pair in pairwise(example.words[:-1])}
    assert held and not met & held


def test_the_second_occurrence_is_asked_from_its_second_word_on() -> None:
    places: dict[str, set[int]] = {"second occurrence": set(), "third occurrence": set()}
    for example in held_out("induction", 2000):
        sequence = example.combination
        earlier = list(example.words[: example.cut])
        assert earlier[: len(sequence)] == list(sequence)
        last = len(earlier) - 1 - earlier[::-1].index(example.answer)
        assert example.evidence == last + 1
        places[example.condition].add(example.cut % len(sequence))
    longest = induction.LONGEST
    assert places == {"second occurrence": set(range(1, longest)), "third occurrence": set(range(longest))}


def test_attractors_differ_from_the_subject() -> None:
    singular = {noun[0] for noun in NOUNS}
    forms = {form for noun in NOUNS for form in noun}
    for example in held_out("agreement"):
        nouns = [word for word in example.words[: example.cut] if word in forms]
        numbers = [word in singular for word in nouns]
        between = ["no attractor", "one attractor", "two attractors", "three attractors"].index(example.condition)
        assert numbers[1:] == [not numbers[0]] * between


def test_rows_hold_whole_sentences() -> None:
    batch = Rows(3).batch(5, 32)
    assert batch.shape == (32, ROW) and (batch[:, 0] == SPECIAL.index(BOS)).all()
    for row in batch:
        end = int(np.argmax(row == SPECIAL.index(EOS)))
        assert end and (row[end + 1 :] == -1).all() and (row[1:end] >= len(SPECIAL)).all()
    assert (batch >= 0).mean() > 0.75  # little is wasted
    np.testing.assert_array_equal(batch[:8], Rows(3).batch(5, 8))
    assert not (Rows(4).batch(5, 32) == batch).all()


def test_rows_are_the_same_in_every_process() -> None:
    code = "from landed_jax.testbed.language import Rows; print(Rows(7).batch(1, 16).tobytes().hex())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == Rows(7).batch(1, 16).tobytes().hex()


def test_stories_say_nothing_twice_over() -> None:
    told = {tuple(sentences(random.Random(i))) for i in range(200)}
    assert len(told) > 190


@pytest.mark.quick
def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(LandedError, match="no task 'sums': the tasks are facts"):
        pairs("sums", "any", 1)
    with pytest.raises(LandedError, match="no condition 'mayors': it has landmark's city"):
        pairs("facts", "mayors", 1)


def test_the_vocabulary_is_closed_and_of_the_size_it_should_be() -> None:
    assert 1000 <= len(words()) <= 2000
    assert len(TASKS) == 5
