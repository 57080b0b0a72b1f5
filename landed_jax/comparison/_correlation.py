"""How well scores go along with measured effects: prompt by prompt, and over all prompts together."""

import numpy as np
from jaxtyping import Float

from landed_jax.results.result import Result, result

TOP = 10


@result
class Correlation(Result):
    """Of one method's scores with the measured effects.

    Where a prompt's scores, or its effects, are all equal there is no correlation: it is then 0.

    Attributes:
        pearson, spearman: over the components of each prompt.
        overlap: the share of each prompt's ten components with the largest |effect| that are among the ten with the
            largest |score|.
        pooled_pearson, pooled_spearman: over the components of all prompts together.
    """

    pearson: Float[np.ndarray, " prompt"]
    spearman: Float[np.ndarray, " prompt"]
    overlap: Float[np.ndarray, " prompt"]
    pooled_pearson: float
    pooled_spearman: float


def correlation(
    scores: Float[np.ndarray, "prompt component"], effects: Float[np.ndarray, "prompt component"], *, top: int = TOP
) -> Correlation:
    """Pearson and Spearman correlation and the overlap of the largest, of each prompt.

    >>> effects = np.array([[3.0, 1.0, 2.0, -4.0]])
    >>> correlation(effects**3, effects, top=2)
    Correlation(pearson f64[1], spearman f64[1], overlap f64[1])
    >>> correlation(effects**3, effects).spearman.item(), correlation(-effects, effects).pearson.item()
    (1.0, -1.0)
    """
    scores, effects = (np.asarray(part, np.float64) for part in (scores, effects))
    ranked = ranks(scores), ranks(effects)
    flat = scores.reshape(1, -1), effects.reshape(1, -1)
    top = min(top, scores.shape[1])
    largest = [np.argsort(-np.abs(part), axis=1, kind="stable")[:, :top] for part in (scores, effects)]
    shared = [len(np.intersect1d(a, b)) / top for a, b in zip(*largest, strict=True)]
    return Correlation(
        pearson(scores, effects),
        pearson(*ranked),
        np.array(shared),
        float(pearson(*flat)[0]),
        float(pearson(ranks(flat[0]), ranks(flat[1]))[0]),
    )


def pearson(a: Float[np.ndarray, "prompt n"], b: Float[np.ndarray, "prompt n"]) -> Float[np.ndarray, " prompt"]:
    """Pearson's correlation along the last axis; 0 where one side is constant."""
    a, b = (part - part.mean(axis=-1, keepdims=True) for part in (a, b))
    # Of numbers near the largest and the smallest floats the squares have none: only the directions count.
    a, b = (part / np.maximum(np.abs(part).max(axis=-1, keepdims=True), np.finfo(float).tiny) for part in (a, b))
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(size > 0, np.clip((a * b).sum(-1) / np.where(size > 0, size, 1), -1, 1), 0.0)


def ranks(values: Float[np.ndarray, "*any n"]) -> Float[np.ndarray, "*any n"]:
    """Ranks from 1 along the last axis; equal values share the mean of theirs.

    >>> ranks(np.array([5.0, 1.0, 5.0]))
    array([2.5, 1. , 2.5])
    """
    flat = values.reshape(-1, values.shape[-1])
    found = np.empty(flat.shape)
    for row, into in zip(flat, found, strict=True):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        into[:] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return found.reshape(values.shape)
