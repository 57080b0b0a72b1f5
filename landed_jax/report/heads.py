"""What `landed heads` says: each head's scores, as JSON and as a table."""

from typing import Any

import numpy as np

from landed_jax.roles._head_scores import SCORES, HeadScores
from landed_jax.tables.quoted import Name
from landed_jax.tables.table import Block, Paragraph


def heads_document(found: HeadScores, model: str, seed: int) -> dict[str, Any]:
    """The object of ``landed heads --json``: every head in order, each score's mean and its interval."""
    means = {name: found.mean(name) for name in SCORES}
    intervals = {name: found.interval(name) for name in SCORES}
    config, tokens = found.config, found.tokens

    def scores(place: tuple[int, int]) -> dict[str, Any]:
        return {
            name: {
                "mean": float(means[name][place]),
                "low": float(intervals[name][0][place]),
                "high": float(intervals[name][1][place]),
            }
            for name in SCORES
        }

    return {
        "model": model,
        "sequences": len(tokens.ids),
        "tokens": int(np.asarray(tokens.mask).sum(axis=1)[0]),
        "seed": seed,
        "interval": 0.95,
        "heads": [
            {"layer": layer, "head": head, **scores((layer, head))}
            for layer in range(config.n_layers)
            for head in range(config.n_heads)
        ],
    }


def heads_report(found: HeadScores, model: str, score: str, top: int) -> list[Block]:
    """The heads with the largest score, under what they were scored on."""
    sequences, length = found.tokens.ids.shape
    said = f"{sequences} random sequences of {length} tokens, each repeated once"
    return [Paragraph([*([Name(model)] if model else []), said]), *found.top(top, score).blocks()]
