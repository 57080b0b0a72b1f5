"""The accuracy of a model on sentences that were held out of its training."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.model import Model
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params
from landed_jax.testbed import language
from landed_jax.testbed.example import Example
from landed_jax.tokens import Tokens
from landed_jax.vocabulary import Vocabulary

CHUNK = 256


# Tasks judged by the foil: after a subject many other words than this verb may follow.
_BY_FOIL = frozenset({"agreement"})


@dataclass(frozen=True)
class Score:
    """The scores of one condition.

    Attributes:
        count: how many prompts, all different.
        first: the fraction in which the right word was the likeliest of all.
        above_foil: the fraction in which the right word was likelier than the foil.
    """

    task: str
    condition: str
    count: int
    first: float
    above_foil: float

    @property
    def by_foil(self) -> bool:
        """Whether `judged` is `above_foil`."""
        return self.task in _BY_FOIL

    @property
    def judged(self) -> float:
        """The score of the task: `first` where only one word is right, `above_foil` for agreement."""
        return self.above_foil if self.by_foil else self.first


@dataclass(frozen=True)
class Questions:
    """Prompts as a model's tokens, in chunks of one shape.

    Attributes:
        groups: task, condition and number of prompts, in the prompts' order.
        tokens: chunks ``[CHUNK, position]``; the last chunk is filled with copies of its last prompt.
        answers, foils: ids ``[prompt]``.
    """

    groups: list[tuple[str, str, int]]
    tokens: list[Tokens]
    answers: np.ndarray
    foils: np.ndarray


def ask(vocabulary: Vocabulary, count: int, *, held_out: bool = True, seed: int = 0) -> Questions:
    """The different prompts among `count` draws of every condition of every task.

    Raises:
        LandedError: if an answer is not one token to this tokenizer.
    """
    groups, examples = [], []
    for task, condition in language.conditions():
        drawn = language.pairs(task, condition, count, held_out=held_out, seed=seed)
        different = {
            pair.clean.words[: pair.clean.cut]: pair.clean for pair in drawn
        }  # some conditions have few prompts
        groups.append((task, condition, len(different)))
        examples += different.values()
    return Questions(groups, _chunks(vocabulary, examples), *_word_ids(vocabulary, examples))


def _chunks(vocabulary: Vocabulary, examples: Sequence[Example]) -> list[Tokens]:
    prompts = [vocabulary.encode(example.prompt) for example in examples]
    prompts += [prompts[-1]] * (-len(prompts) % CHUNK)
    whole = jax.tree.map(np.asarray, Tokens.from_lists(prompts))  # one length for all: one compilation
    return [jax.tree.map(lambda x, i=i: x[i : i + CHUNK], whole) for i in range(0, len(prompts), CHUNK)]


def _word_ids(vocabulary: Vocabulary, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    known = functools.cache(lambda word: vocabulary.token_id(f" {word}"))
    return np.array([known(e.answer) for e in examples]), np.array([known(e.foil) for e in examples])


def score_model(model: Model, count: int = 200, *, held_out: bool = True, seed: int = 0) -> list[Score]:
    """A model's scores on up to `count` different prompts of every condition.

    Raises:
        LandedError: if the model has no tokenizer, or an answer is not one token.
    """
    if model.vocabulary is None:
        raise LandedError(f"{model.source} has no tokenizer files, so it cannot read a prompt.")
    return score(model.params, model.config, ask(model.vocabulary, count, held_out=held_out, seed=seed))


def score(params: Params, config: ModelConfig, questions: Questions) -> list[Score]:
    """Scores of the model's answers, by condition."""
    logits = np.concatenate([_last_logits(params, chunk, config) for chunk in questions.tokens])
    rows = np.arange(len(questions.answers))
    answers = logits[rows, questions.answers]
    first = logits[rows].argmax(-1) == questions.answers
    above = answers > logits[rows, questions.foils]
    scores, start = [], 0
    for task, condition, count in questions.groups:
        part = slice(start, start + count)
        scores.append(Score(task, condition, count, float(first[part].mean()), float(above[part].mean())))
        start += count
    return scores


@functools.partial(jax.jit, static_argnames="config")
def _last_logits(params: Params, tokens: Tokens, config: ModelConfig) -> jax.Array:
    logits, _ = forward(params, tokens, config, record=(), at=jnp.array([-1]))
    return logits[:, 0]
