"""The prompts that claims are measured on where the user gives none: they ship with the package."""

import itertools

from landed_jax.errors import LandedError
from landed_jax.model import Model
from landed_jax.tasks import tasks
from landed_jax.testbed import prompts as testbed


def default_prompts(model: Model, count: int, *, seed: int = 0) -> list[str]:
    """Prompts of the tasks in turn: of `landed_jax.tasks`, or of the testbed for a model that was trained on it.

    Raises:
        LandedError: for a model without a tokenizer.

    >>> import landed_jax as landed
    >>> len(default_prompts(landed.load(), 12))
    12
    """
    if model.vocabulary is None:
        raise LandedError("This model has no tokenizer: give prompts as token ids.")
    own = testbed.tasks()
    drawn = {name: [prompt.clean for prompt in task.prompts(count, seed=seed)] for name, task in own.items()}
    # A model of the testbed knows all its words, each as one token.
    if any(model.vocabulary.unknown(some[0]) or not _by_words(model, some[0]) for some in drawn.values()):
        drawn = {name: [prompt.clean for prompt in task.prompts(count, seed=seed)] for name, task in tasks().items()}
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*drawn.values()))
    return list(dict.fromkeys(text for text in in_turn if text is not None))[:count]


def _by_words(model: Model, text: str) -> bool:
    assert model.vocabulary is not None
    words = text.replace(",", " ,").split()
    return len(model.vocabulary.encode(text, add_special_tokens=False)) == len(words)
