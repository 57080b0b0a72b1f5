"""What attention patterns say of a head: whether it looks at the token before, at a duplicate, at what followed one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from landed_jax.numerics import highest_precision
from landed_jax.results.result import Result, result
from landed_jax.tokens import Tokens


@result
class PatternScores(Result):
    """Mean attention weights of each head, from 0 to 1, over the queries of a prompt that have such a source.

    Attributes:
        previous_token: on the token before.
        duplicate_token: on all earlier occurrences of the query's own token together.
        induction: on all tokens that followed earlier occurrences together.
    """

    previous_token: Float[Array, "layer head sequence"]
    duplicate_token: Float[Array, "layer head sequence"]
    induction: Float[Array, "layer head sequence"]


@highest_precision
def pattern_scores(pattern: Float[Array, "layer sequence head position position"], tokens: Tokens) -> PatternScores:
    """Previous-token, duplicate-token and induction score of every head, in every prompt.

    A pure function of patterns. What is padding is neither a query nor a source; a prompt without any query that has
    such a source has the score 0.

    Args:
        pattern: as `HookPoint.PATTERN` records it, of all queries.

    References:
        Olsson et al., In-context Learning and Induction Heads, 2022 (prefix matching on repeated random tokens); Wang
        et al., Interpretability in the Wild, 2022, arXiv:2211.00593 (previous-token and duplicate-token heads).

    >>> tokens = Tokens.from_lists([[4, 7, 4]])
    >>> looks_back = jnp.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])[None, None, None]  # at the token before, and that
    >>> found = pattern_scores(looks_back, tokens)  # … followed an earlier 4
    >>> float(found.previous_token[0, 0, 0]), float(found.duplicate_token[0, 0, 0]), float(found.induction[0, 0, 0])
    (1.0, 0.0, 1.0)
    """
    return _scores(pattern, tokens)


@jax.jit
def _scores(pattern: jax.Array, tokens: Tokens) -> PatternScores:
    ids, mask = tokens.ids, tokens.mask
    column = jnp.arange(ids.shape[1])
    real = mask[:, :, None] & mask[:, None, :] & (column[:, None] > column[None])[None]
    same = real & (ids[:, :, None] == ids[:, None, :])
    before = real & (column[:, None] == column[None] + 1)[None]
    # Source k followed an earlier occurrence where k − 1 is one.
    followed = jnp.pad(same[:, :, :-1], ((0, 0), (0, 0), (1, 0))) & real
    return PatternScores(*(_mean_weight(pattern, sources) for sources in (before, same, followed)))


def _mean_weight(
    pattern: Float[Array, "layer sequence head position position"], sources: Bool[Array, "sequence position position"]
) -> Float[Array, "layer head sequence"]:
    """The weight on a query's sources, a mean over the queries that have any."""
    weight = jnp.einsum("lshqk,sqk->lhs", pattern, sources.astype(pattern.dtype))
    queries = jnp.sum(jnp.any(sources, axis=-1), axis=-1).astype(pattern.dtype)
    return weight / jnp.maximum(queries, 1)[None, None]
