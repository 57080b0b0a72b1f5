"""What the model itself predicts: probabilities, ranks, and the likeliest tokens."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.results.result import result

LISTED = 5
"""How many of the likeliest tokens are shown."""


@result
class Chances:
    """Tokens with their logits, log-probabilities (nats) and ranks (0: the likeliest; equal logits share the best)."""

    ids: Int[Array, " token"]
    logits: Float[Array, " token"]
    log_probabilities: Float[Array, " token"]
    ranks: Int[Array, " token"]


@result
class Prediction:
    """The tokens that a run asks for (the target, and what it is held against), and the likeliest ones."""

    asked: Chances
    likeliest: Chances


def predict(logits: Float[Array, " vocab"], asked: Sequence[jax.Array], listed: int) -> Prediction:
    """The chances of the next token at one position.

    >>> found = predict(jnp.log(jnp.array([0.7, 0.1, 0.2])), [jnp.array(1)], 2)
    >>> found.asked.ranks.tolist(), found.likeliest.ids.tolist(), chance(float(found.asked.log_probabilities[0]))
    ([2], [0, 2], '10.00%')
    """
    return Prediction(_chances(logits, jnp.stack(asked)), _chances(logits, jax.lax.top_k(logits, listed)[1]))


def _chances(logits: jax.Array, ids: jax.Array) -> Chances:
    own = logits[ids]
    others = jnp.where(jax.nn.one_hot(ids, logits.size, dtype=bool), -jnp.inf, logits)
    # −log(1 + Σ_others e^(l − own)) keeps its digits where the model is sure, unlike own − log Σ e^l.
    log_probabilities = -jnp.logaddexp(0.0, jax.nn.logsumexp(others, axis=-1) - own)
    return Chances(ids, own, log_probabilities, jnp.sum(logits > own[:, None], axis=-1))


def chance(log_probability: float) -> str:
    """A probability as it is shown: never rounded to all or nothing.

    >>> chance(math.log(0.25)), chance(-1e-6), chance(-20.0)
    ('25.00%', '>99.99%', '2.1e-09')
    """
    probability = math.exp(log_probability)
    if probability > 0.99995:
        return ">99.99%"
    return f"{probability:.2%}" if probability >= 1e-4 else f"{probability:.1e}"
