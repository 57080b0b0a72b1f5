"""How much of a method's attribution to tokens is on the one token that is known to decide the answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from landed_jax.results.result import Result, result
from landed_jax.tasks import Pairs


@result
class Evidence(Result):
    """Of each prompt.

    The first token often draws attention whatever it is, so ranks are also given without it; where it is itself the
    evidence, it stays in.

    Attributes:
        absolute: the share of Σ |attribution| over the prompt's tokens that is on the evidence.
        signed: the attribution to the evidence over the sum of all.
        first: whether no other token has a larger |attribution|.
        first_but_start: the same without the prompt's first token.
    """

    absolute: Float[np.ndarray, " prompt"]
    signed: Float[np.ndarray, " prompt"]
    first: Bool[np.ndarray, " prompt"]
    first_but_start: Bool[np.ndarray, " prompt"]


def evidence(tokens: Sequence[Any], batches: Sequence[Pairs]) -> Evidence:
    """The evidence's share of a method's scores of tokens, of all prompts.

    Args:
        tokens: of each batch, ``[batch, position]``.

    >>> from landed_jax.testbed.prompts import tasks
    >>> from landed_jax.tasks import answered, pairs_of
    >>> import landed_jax as landed
    >>> batches = pairs_of(answered(landed.load(), tasks()["facts"], 4))
    >>> found = evidence([np.eye(b.clean.ids.shape[1])[b.evidence] * 2 + 1 for b in batches], batches)
    >>> bool(found.first.all()), float(found.absolute.max()) < 0.5
    (True, True)
    """
    parts = [_of_batch(np.asarray(scores, np.float64), pairs) for scores, pairs in zip(tokens, batches, strict=True)]
    return Evidence(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _of_batch(scores: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, ...]:
    mask, place = np.asarray(pairs.clean.mask), np.asarray(pairs.evidence)[:, None]
    scores = np.where(mask, scores, 0)
    sizes = np.abs(scores)
    own, own_size = (np.take_along_axis(part, place, 1)[:, 0] for part in (scores, sizes))
    start = (np.asarray(pairs.clean.positions) == 0) & mask & (np.arange(mask.shape[1]) != place)
    others = np.where(np.arange(mask.shape[1]) == place, -np.inf, np.where(mask, sizes, -np.inf))
    largest = [others.max(axis=1), np.where(start, -np.inf, others).max(axis=1)]
    return (
        _share(own_size, sizes.sum(axis=1)),
        _share(own, scores.sum(axis=1)),
        *(own_size >= other for other in largest),
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where nothing is attributed to any token."""
    return np.where(whole != 0, part / np.where(whole != 0, whole, 1), 0.0)
