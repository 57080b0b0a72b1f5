"""A prompt with a right and a wrong answer, and the same prompt corrupted."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Answers(NamedTuple):
    """Tokens that may follow, as text with its leading space: any of `right` is right, any of `wrong` wrong."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Attributes:
        condition: the kind of prompt within its task.
        clean: the text before the answer.
        corrupted: the same with the evidence for the answer changed, for patching.
        answers: in order of preference: the first choice of which all are single tokens to a tokenizer is taken (years
            in two digits, or in one).
    """

    condition: str
    clean: str
    corrupted: str
    answers: tuple[Answers, ...]


@dataclass(frozen=True)
class Task:
    """A kind of question.

    Attributes:
        conditions: the kinds within it.
        draw: ``draw(chooser, condition)``: a prompt at random.

    >>> from landed_jax.tasks import tasks
    >>> prompts = tasks()["indirect object"].prompts(4, seed=1)
    >>> len(prompts), prompts == tasks()["indirect object"].prompts(4, seed=1)
    (4, True)
    """

    name: str
    conditions: tuple[str, ...]
    draw: Callable[[random.Random, str], Prompt]

    def prompts(self, count: int, *, seed: int = 0, condition: str | None = None) -> list[Prompt]:
        """`count` different prompts, the conditions in turn; fewer where a condition has no more.

        The same on every machine for one seed; of a larger `count` the first are those of a smaller one.
        """
        conditions = self.conditions if condition is None else (condition,)
        choosers = {name: random.Random(f"{self.name} {name} {seed}") for name in conditions}
        found: dict[Prompt, None] = {}
        for attempt in range(20 * count):
            name = conditions[attempt % len(conditions)]
            found.setdefault(self.draw(choosers[name], name))
            if len(found) == count:
                break
        return list(found)
