"""The language: tasks and stories mixed into rows of tokens; each row is determined by its number."""

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.testbed.example import Pair
from landed_jax.testbed.tasks import agreement, facts, indirect_object, induction, stories, succession

UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
SPECIAL = (UNKNOWN, BOS, EOS)
ROW = 48
"""Columns in a row, BOS included."""

TASKS = {
    task.name: task for task in (facts.TASK, agreement.TASK, indirect_object.TASK, induction.TASK, succession.TASK)
}
"""The tasks with known answers, by name."""

# The share of each task among the draws; the rest are stories.
_SHARES = {
    facts.TASK: 0.33,
    agreement.TASK: 0.18,
    indirect_object.TASK: 0.15,
    induction.TASK: 0.18,
    succession.TASK: 0.05,
}
_STORIES = 0.11


def pairs(task: str, condition: str, count: int, *, held_out: bool = True, seed: int = 0) -> list[Pair]:
    """Clean and corrupted prompts of one task.

    Args:
        task: one of `TASKS`.
        condition: one of the task's `conditions`.
        held_out: clean prompts of combinations that are held out of the condition's training, or of the others. A
            prompt may occur more than once, as some conditions have few.

    Raises:
        LandedError: for an unknown task or condition.

    >>> pair = pairs("facts", "capital", 1)[0]
    >>> pair.clean.foil == pair.corrupted.answer, pair.clean.cut == pair.corrupted.cut
    (True, True)
    """
    if task not in TASKS:
        raise LandedError(f"There is no task {task!r}: the tasks are {', '.join(TASKS)}.")
    if condition not in TASKS[task].conditions:
        raise LandedError(
            f"The task {task} has no condition {condition!r}: it has {', '.join(TASKS[task].conditions)}."
        )
    chooser = random.Random(f"{task}/{condition}/{held_out}/{seed}")
    return [TASKS[task].draw(chooser, condition, held_out) for _ in range(count)]


def conditions() -> Iterator[tuple[str, str]]:
    """Every task with each of its conditions."""
    for name, task in TASKS.items():
        for condition in task.conditions:
            yield name, condition


@functools.cache  # called for every batch
def words() -> tuple[str, ...]:
    """The closed vocabulary in the order of ids, without the special tokens, whose ids come first."""
    found: set[str] = set(stories.WORDS).union(*(task.words for task in TASKS.values()))
    return tuple(sorted(found))


@dataclass(frozen=True)
class Rows:
    """Rows of training tokens.

    >>> rows = Rows(seed=0)
    >>> ids = rows.batch(step=0, size=4)
    >>> ids.shape, bool((ids == rows.batch(step=0, size=4)).all())
    ((4, 48), True)
    """

    seed: int

    def text(self, step: int, row: int) -> list[tuple[str, ...]]:
        """The sentences of one row."""
        chooser = random.Random(f"{self.seed}/{step}/{row}")
        kinds, weights = [*_SHARES, None], [*_SHARES.values(), _STORIES]
        room = ROW - 2  # BOS and EOS
        chosen: list[tuple[str, ...]] = []
        while True:
            kind = chooser.choices(kinds, weights)[0]
            for sentence in stories.sentences(chooser) if kind is None else [kind.learn(chooser)]:
                if len(sentence) > room:
                    return chosen
                chosen.append(sentence)
                room -= len(sentence)

    def batch(self, step: int, size: int) -> np.ndarray:
        """Ids ``[size, ROW]``; -1 after the EOS."""
        ids = {word: i for i, word in enumerate((*SPECIAL, *words()))}
        rows = np.full((size, ROW), -1, np.int32)
        for row in range(size):
            tokens = [BOS, *(word for sentence in self.text(step, row) for word in sentence), EOS]
            rows[row, : len(tokens)] = [ids[token] for token in tokens]
        return rows
