"""Tasks for ordinary tokenizers: their prompts, and which of them a model is asked."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.tasks import Answers, Kept, Prompt, answered, kept, pairs_of, tasks
from landed_jax.testbed import prompts as testbed
from tests.models import SMALL, random_params

EACH = pytest.mark.parametrize("name", tasks())
PLACES = {"Colosseum": "Rome", "Louvre": "Paris"}


def differing(prompt: Prompt) -> list[tuple[str, str]]:
    clean, corrupted = prompt.clean.split(), prompt.corrupted.split()
    assert len(clean) == len(corrupted)
    return [(a, b) for a, b in zip(clean, corrupted, strict=True) if a != b]


@pytest.mark.quick
@EACH
def test_prompts_are_different_balanced_and_the_same_for_a_seed(name: str) -> None:
    task = tasks()[name]
    prompts = task.prompts(60, seed=3)
    assert len(set(prompts)) == 60 and prompts == task.prompts(60, seed=3) != task.prompts(60, seed=4)
    assert prompts[:12] == task.prompts(12, seed=3)
    counts = [sum(prompt.condition == condition for prompt in prompts) for condition in task.conditions]
    assert max(counts) - min(counts) <= 8
    assert {prompt.condition for prompt in task.prompts(5, condition=task.conditions[-1])} == {task.conditions[-1]}


@EACH
def test_the_evidence_alone_differs_and_no_answer_is_on_both_sides(name: str) -> None:
    for prompt in tasks()[name].prompts(200):
        assert len(differing(prompt)) == 1
        for answers in prompt.answers:
            assert answers.right and answers.wrong and not set(answers.right) & set(answers.wrong)


def test_the_repeated_name_is_wrong() -> None:
    for prompt in tasks()["indirect object"].prompts(100):
        ((right,), (wrong,)) = prompt.answers[0]
        assert prompt.clean.count(wrong.strip()) == 2 and prompt.clean.count(right.strip()) == 1
        assert prompt.corrupted.count(wrong.strip()) == 1 and prompt.corrupted.count(right.strip()) == 2


def test_years_are_later_in_two_digits_and_in_one() -> None:
    for prompt in tasks()["greater than"].prompts(100):
        year = int(next(word for word in prompt.clean.split() if word.isdigit() and len(word) == 4)[2:])
        years, digits = prompt.answers
        assert min(map(int, years.right)) == year + 1 and max(map(int, years.wrong)) == year - 1
        assert all(int(d) > year // 10 for d in digits.right) and all(int(d) < year // 10 for d in digits.wrong)


def test_the_subjects_number_decides() -> None:
    for prompt in tasks()["agreement"].prompts(120):
        ((right,), (wrong,)) = prompt.answers[0]
        plural = prompt.clean.split()[1].endswith("s")
        assert (right in (" are", " were", " have")) == plural == (wrong in (" is", " was", " has"))
        ((a, b),) = differing(prompt)
        assert a.rstrip("s") == b.rstrip("s")


def city(monument: str, answers: Answers) -> Prompt:
    other = next(name for name in PLACES if name != monument)
    return Prompt("city", f"The {monument} is in the city of", f"The {other} is in the city of", (answers,))


def test_only_what_the_model_can_be_asked_and_gets_right_is_kept() -> None:
    model = landed.load()
    right = city("Colosseum", Answers((" Rome",), (" Paris",)))
    false = city("Colosseum", Answers((" Paris",), (" Rome",)))
    long = city("Colosseum", Answers((" Rome Paris",), (" Paris",)))
    shifted = dataclasses.replace(right, corrupted="The Louvre is in the old city of")
    second = dataclasses.replace(right, answers=(*long.answers, Answers((" Rome", " Paris"), (" city",))))
    found = kept(model, [false, right, long, shifted, second])
    assert found.prompts == (right, second)
    assert (found.drawn, found.single_tokens, found.aligned, found.accuracy) == (5, 4, 3, 2 / 3)
    logits = np.asarray(model.trace(right.clean, record=()).logits[0, -1], np.float64)
    rome, paris, of_city = (model.vocabulary.token_id(text) for text in (" Rome", " Paris", " city"))
    both = np.log(np.exp(logits[rome]) + np.exp(logits[paris]))
    np.testing.assert_allclose(found.difference, [logits[rome] - logits[paris], both - logits[of_city]], rtol=1e-4)
    assert found.right[1] == (rome, paris) and len(found.clean[0]) == len(found.corrupted[0])
    every = kept(model, [false, right, long, shifted, second], right_only=False)
    assert every.prompts == (false, right, second) and every.answered == 2 and every.difference[0] < 0


def test_nothing_kept_and_no_tokenizer() -> None:
    model = landed.load()
    nothing = kept(model, [])
    assert nothing.prompts == () and nothing.accuracy == 0 and isinstance(nothing, Kept)
    with pytest.raises(landed.LandedError, match="no tokenizer"):
        kept(landed.Model(SMALL, random_params(SMALL)), [])


def test_pairs_are_aligned_and_their_question_is_the_mean_logit_difference() -> None:
    model = landed.load()
    found = kept(model, testbed.tasks()["induction"].prompts(12))
    batches = pairs_of(found, together=5)
    assert [len(pairs) for pairs in batches] == [5, 5, 2]
    seen = 0
    for pairs in batches:
        assert pairs.clean.ids.shape[1] % 4 == 0 and bool(jnp.all(pairs.clean.mask == pairs.corrupted.mask))
        logits = model.trace(pairs.clean, at=-1).logits[:, 0]
        value = landed.resolve(model.trace(pairs.clean, at=-1), pairs.question(model.params, model.config)).value[:, 0]
        for row in range(len(pairs)):
            index = found.clean.index(
                tuple(np.asarray(pairs.clean.ids[row])[np.asarray(pairs.clean.mask[row])].tolist())
            )
            right, wrong = found.right[index], found.wrong[index]
            expected = logits[row, jnp.array(right)].mean() - logits[row, jnp.array(wrong)].mean()
            np.testing.assert_allclose(value[row], expected, atol=1e-4)
            differ = np.flatnonzero(np.asarray(pairs.clean.ids[row] != pairs.corrupted.ids[row]))
            assert int(pairs.evidence[row]) == differ[-1]
            seen += 1
    assert seen == len(found.prompts)


def test_answers_of_several_tokens_count_by_their_mean() -> None:
    model = landed.load()
    answers = (Answers((" Rome", " Paris"), (" Athens",)),)
    prompt = Prompt("places", "The Colosseum is in the city of", "The Louvre is in the city of", answers)
    [pairs] = pairs_of(kept(model, [prompt]))
    trace = model.trace(pairs.clean, at=-1)
    rome, paris, athens = (
        trace.logits[0, 0, model.vocabulary.token_id(name)] for name in (" Rome", " Paris", " Athens")
    )
    value = landed.resolve(trace, pairs.question(model.params, model.config)).value[0, 0]
    np.testing.assert_allclose(value, (rome + paris) / 2 - athens, atol=1e-4)


def test_no_prompt_is_no_pair() -> None:
    with pytest.raises(landed.LandedError, match="None of these prompts"):
        pairs_of(Kept((), (), (), (), (), np.zeros(0), 3, 0, 0, 0))


def test_prompts_are_drawn_until_as_many_are_answered() -> None:
    model, task = landed.load(), testbed.tasks()["succession"]
    found = answered(model, task, 20, seed=2)
    whole = kept(model, task.prompts(found.drawn, seed=2))
    assert len(found.prompts) == len(found.clean) == len(found.difference) == 20
    assert found.prompts == whole.prompts[:20] and found.accuracy == whole.accuracy


def test_a_model_that_answers_little_ends_the_drawing() -> None:
    config = landed.load().config
    model = dataclasses.replace(landed.load(), params=landed.init_params(config, jax.random.key(0)))
    found = answered(model, testbed.tasks()["succession"], 10, condition="days")
    assert len(found.prompts) <= 10 and 10 < found.drawn <= 40
