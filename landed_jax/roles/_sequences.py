"""Random sequences of tokens, each repeated: what shows a head that looks back."""

from collections.abc import Sequence

import numpy as np

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.tokens import check_id
from landed_jax.vocabulary import Vocabulary


def repeated_sequences(
    config: ModelConfig,
    vocabulary: Vocabulary | None,
    count: int,
    length: int,
    *,
    seed: int = 0,
    pool: Sequence[int] | None = None,
) -> list[list[int]]:
    """`count` sequences of `length` different random tokens, each followed by itself.

    What the tokenizer puts in front of a text (in most models a BOS) stands in front of each.

    Args:
        pool: the ids that are drawn from; by default all but the tokenizer's special ones.

    Raises:
        LandedError: for a pool with fewer ids than a sequence, or ids out of range.

    >>> config = ModelConfig(vocab_size=9, d_model=2, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
    >>> repeated_sequences(config, None, 1, 3)
    [[7, 4, 5, 7, 4, 5]]
    """
    if count < 1 or length < 2:
        raise LandedError(f"Head scores need sequences of at least two tokens, not {count} of {length}.")
    ids = _ids(config, vocabulary) if pool is None else np.unique(np.asarray(pool))
    for token in ids[[0, -1]].tolist() if len(ids) else []:
        check_id(token, config.vocab_size)
    if len(ids) < length:
        raise LandedError(f"A sequence of {length} different tokens cannot be drawn from {len(ids)}.")
    random, front = np.random.default_rng(seed), [] if vocabulary is None else vocabulary.encode("")
    drawn = (random.choice(ids, length, replace=False).tolist() for _ in range(count))
    return [[*front, *sequence, *sequence] for sequence in drawn]


def _ids(config: ModelConfig, vocabulary: Vocabulary | None) -> np.ndarray:
    special = [] if vocabulary is None else vocabulary.special_ids
    return np.setdiff1d(np.arange(config.vocab_size), np.asarray(special, int))
