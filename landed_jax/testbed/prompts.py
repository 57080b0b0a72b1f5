"""The testbed's tasks in the form of `landed_jax.tasks`: prompts for studies, of combinations held out of training."""

import random
from collections.abc import Callable

from landed_jax.tasks import Answers, Prompt, Task
from landed_jax.testbed import language


def tasks() -> dict[str, Task]:
    """Every task of the language by its name; `landed_jax.tasks.tasks` has those for ordinary tokenizers.

    >>> sorted(tasks())
    ['agreement', 'facts', 'indirect object', 'induction', 'succession']
    >>> prompt = tasks()["induction"].prompts(1)[0]
    >>> prompt.clean.count(prompt.answers[0].right[0]), prompt.corrupted.count(prompt.answers[0].right[0])
    (1, 0)
    """
    return {name: Task(name, task.conditions, _drawer(name)) for name, task in language.TASKS.items()}


def _drawer(name: str) -> Callable[[random.Random, str], Prompt]:
    def draw(chooser: random.Random, condition: str) -> Prompt:
        pair = language.TASKS[name].draw(chooser, condition, True)
        answers = Answers((f" {pair.clean.answer}",), (f" {pair.clean.foil}",))
        return Prompt(condition, pair.clean.prompt, pair.corrupted.prompt, (answers,))

    return draw
