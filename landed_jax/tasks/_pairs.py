"""Clean and corrupted prompts of one length as arrays, with the answers as one direction of the unembedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads._questions import Vector
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params, unembedding
from landed_jax.numerics import compute_dtype
from landed_jax.shapes import ShapeRepr
from landed_jax.tasks._kept import TOGETHER, Kept
from landed_jax.tokens import Tokens

NO_ANSWER = -1
COLUMNS = 4


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class Pairs(ShapeRepr):
    """Clean prompts and the same ones corrupted, aligned column by column, padded on the left.

    Attributes:
        right, wrong: ids ``[batch, answer]`` of the tokens that may follow, −1 where a prompt has fewer than others.
    """

    clean: Tokens
    corrupted: Tokens
    right: Int[Array, "batch answer"]
    wrong: Int[Array, "batch answer"]

    def __len__(self) -> int:
        return self.clean.ids.shape[0]

    @property
    def evidence(self) -> Int[Array, " batch"]:
        """The last column in which the two prompts have different tokens."""
        ids = self.clean.ids != self.corrupted.ids
        return ids.shape[1] - 1 - jnp.argmax(ids[:, ::-1], axis=1)

    def question(self, params: Params, config: ModelConfig, dtype: Any = None) -> Vector:
        """The mean logit of the right tokens less that of the wrong ones: the logit difference for one token each.

        It is one direction a prompt, so that every part of the stream has an exact share of it. Where logits are
        capped, it is of logits before the cap.

        >>> import landed_jax as landed
        >>> from landed_jax.tasks import Answers, Prompt, kept, pairs_of
        >>> model, answers = landed.load(), (Answers((" Rome",), (" Paris",)),)
        >>> tower = Prompt("places", "The Colosseum is in the city of", "The Louvre is in the city of", answers)
        >>> [pairs] = pairs_of(kept(model, [tower]))
        >>> read = landed.resolve(model.trace(pairs.clean, at=-1), pairs.question(model.params, model.config))
        >>> round(float(read.value[0, 0]), 2)
        18.75
        """
        return answers_direction(params, config, self.right, self.wrong, dtype)


def answers_direction(
    params: Params,
    config: ModelConfig,
    right: Int[Array, "batch answer"],
    wrong: Int[Array, "batch answer"],
    dtype: Any = None,
) -> Vector:
    """The mean row of the unembedding of the right tokens less that of the wrong ones; 0 for none, at the final norm.

    Args:
        right, wrong: ids, `NO_ANSWER` where a prompt has fewer than others.
    """
    to_logits, dtype = unembedding(params, config), compute_dtype(dtype)

    def mean(ids: jax.Array) -> Float[Array, "batch d_model"]:
        there = (ids != NO_ANSWER)[..., None]
        rows = jnp.where(there, to_logits.rows(jnp.maximum(ids, 0), dtype), 0)
        return jnp.sum(rows, axis=1) / jnp.maximum(jnp.sum(there, axis=1, dtype=dtype), 1)

    return Vector((mean(right) - mean(wrong))[:, None], site="final")


def pairs_of(kept: Kept, *, together: int = TOGETHER) -> list[Pairs]:
    """Kept prompts in batches, the shortest first.

    A batch is padded on the left to a multiple of four columns, so that batches share compiled programs.

    Args:
        together: prompts of one batch at most.

    Raises:
        LandedError: where no prompt was kept.
    """
    if not kept.prompts:
        raise LandedError(f"None of these prompts can be studied: {kept!r}.")
    order = sorted(range(len(kept.prompts)), key=lambda place: len(kept.clean[place]))
    return [_pairs(kept, order[first : first + together]) for first in range(0, len(order), together)]


def _pairs(kept: Kept, places: Sequence[int]) -> Pairs:
    clean, corrupted = (
        Tokens.from_lists([side[place] for place in places]).padded(COLUMNS) for side in (kept.clean, kept.corrupted)
    )
    return Pairs(clean, corrupted, *(_filled([side[place] for place in places]) for side in (kept.right, kept.wrong)))


def _filled(answers: Sequence[Sequence[int]]) -> jax.Array:
    most = max(map(len, answers))
    return jnp.asarray(np.array([[*ids, *(NO_ANSWER,) * (most - len(ids))] for ids in answers], np.int32))
