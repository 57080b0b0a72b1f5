"""The prompts of a task on which a model can be studied: whose answers are single tokens, and which it gets right."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from landed_jax.errors import LandedError
from landed_jax.model import Model
from landed_jax.tasks._listed import ListedTask
from landed_jax.tasks._prompt import Prompt, Task
from landed_jax.vocabulary import Vocabulary

# Prompts of one pass: few enough that their logits stay small beside a model.
TOGETHER = 32


@dataclass(frozen=True)
class Kept:
    """Prompts on which a model is studied, as tokens, and how many were left out.

    Attributes:
        prompts: those that were kept.
        clean, corrupted: their ids, special tokens included; the two of a prompt have one length, token by token.
        right, wrong: ids of the tokens that may follow.
        difference: log-odds of right against wrong at the clean prompt: the logit difference for one token each.
        drawn: how many prompts there were.
        single_tokens: those of them whose answers are single tokens.
        aligned: those of these whose two prompts have as many tokens.
        answered: those of these that the model gets right, of which `prompts` are the first (unless those that it
            gets wrong were kept too).
    """

    prompts: tuple[Prompt, ...]
    clean: tuple[tuple[int, ...], ...]
    corrupted: tuple[tuple[int, ...], ...]
    right: tuple[tuple[int, ...], ...]
    wrong: tuple[tuple[int, ...], ...]
    difference: Float[np.ndarray, " prompt"]
    drawn: int
    single_tokens: int
    aligned: int
    answered: int

    @property
    def accuracy(self) -> float:
        """The share of the askable prompts in which right is likelier than wrong; 0 where none could be asked."""
        return self.answered / self.aligned if self.aligned else 0.0

    def first(self, count: int) -> "Kept":
        """The first prompts of these; what was counted stays as it was."""
        names = ("prompts", "clean", "corrupted", "right", "wrong", "difference")
        return dataclasses.replace(self, **{name: getattr(self, name)[:count] for name in names})

    def __repr__(self) -> str:
        return (
            f"Kept({len(self.prompts)} of {self.drawn} prompts: {self.single_tokens} with answers of one token, "
            f"{self.aligned} aligned, {self.accuracy:.0%} of these right)"
        )


class _Asked(NamedTuple):
    """A prompt as ids."""

    prompt: Prompt
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]


def kept(model: Model, prompts: Sequence[Prompt], *, right_only: bool = True) -> Kept:
    """The prompts on which a model can be studied.

    Their answers are single tokens to its tokenizer, clean and corrupted prompt have as many tokens, and right is
    likelier than wrong after the clean one.

    Args:
        right_only: whether that last is asked: not of a model in training, where the loss of all prompts is wanted.

    Raises:
        LandedError: for a model without a tokenizer.

    >>> import landed_jax as landed
    >>> from landed_jax.tasks import Answers, Prompt
    >>> answers = (Answers((" Rome",), (" Paris",)),)
    >>> tower = Prompt("places", "The Colosseum is in the city of", "The Louvre is in the city of", answers)
    >>> kept(landed.load(), [tower])
    Kept(1 of 1 prompts: 1 with answers of one token, 1 aligned, 100% of these right)
    """
    if model.vocabulary is None:
        raise LandedError("This model has no tokenizer, and the prompts of a task are text.")
    vocabulary = model.vocabulary
    found = {prompt: _single(vocabulary, prompt) for prompt in prompts}
    single = {prompt: answers for prompt, answers in found.items() if answers is not None}
    asked = [_Asked(prompt, *_ids(vocabulary, prompt), *answers) for prompt, answers in single.items()]
    aligned = [one for one in asked if len(one.clean) == len(one.corrupted)]
    differences = _log_odds(model, aligned)
    right = [number > 0 for number in differences]
    places = [place for place, hit in enumerate(right) if hit or not right_only]
    columns = zip(*(aligned[place] for place in places), strict=True) if places else ((),) * 5
    return Kept(
        *map(tuple, columns),
        difference=np.array([differences[place] for place in places]),
        drawn=len(prompts),
        single_tokens=len(single),
        aligned=len(aligned),
        answered=sum(right),
    )


def answered(model: Model, task: Task | ListedTask, count: int, *, seed: int = 0, condition: str | None = None) -> Kept:
    """The first prompts of a task that a model answers: `count` of them, or as many as are found among 4 · count.

    Raises:
        LandedError: for a model without a tokenizer.

    >>> import landed_jax as landed
    >>> from landed_jax.testbed.prompts import tasks
    >>> answered(landed.load(), tasks()["induction"], 12)
    Kept(12 of 15 prompts: 15 with answers of one token, 15 aligned, 100% of these right)
    """
    wanted = count
    while True:
        wanted = min(wanted + max(wanted // 4, 1), 4 * count)
        prompts = task.prompts(wanted, seed=seed, condition=condition)
        found = kept(model, prompts)
        if len(found.prompts) >= count or len(prompts) < wanted or wanted == 4 * count:
            return found.first(count)


def _single(vocabulary: Vocabulary, prompt: Prompt) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The ids of the first of a prompt's answers that are all single tokens."""
    for answers in prompt.answers:
        try:
            right, wrong = (tuple(map(vocabulary.token_id, side)) for side in answers)
        except LandedError:
            continue  # an answer of several tokens
        return right, wrong
    return None


def _ids(vocabulary: Vocabulary, prompt: Prompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
    clean, corrupted = (tuple(vocabulary.encode(text)) for text in (prompt.clean, prompt.corrupted))
    return clean, corrupted


def _log_odds(model: Model, asked: Sequence[_Asked]) -> list[float]:
    """``log Σ p(right) − log Σ p(wrong)`` after each clean prompt."""
    found = []
    for first in range(0, len(asked), TOGETHER):
        part = asked[first : first + TOGETHER]
        logits = np.asarray(model.trace([list(one.clean) for one in part], record=(), at=[-1]).logits, np.float64)
        for one, row in zip(part, logits[:, 0], strict=True):
            found.append(float(_log_sum(row[list(one.right)]) - _log_sum(row[list(one.wrong)])))
    return found


def _log_sum(logits: Float[np.ndarray, " token"]) -> float:
    return float(np.logaddexp.reduce(logits))
