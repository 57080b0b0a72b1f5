"""What the model itself predicts: probabilities, ranks, and the likeliest tokens."""

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
    >>> found.asked.ranks.tolist(), found.likeliest.ids.tolist()
    ([2], [0, 2])
    """
    return Prediction(_chances(logits, jnp.stack(asked)), _chances(logits, jax.lax.top_k(logits, listed)[1]))


def _chances(logits: jax.Array, ids: jax.Array) -> Chances:
    def of(token: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        others = jnp.where(jnp.arange(logits.size) == token, -jnp.inf, logits)
        # −log(1 + Σ_others e^(l − own)) keeps its digits where the model is sure, unlike own − log Σ e^l.
        log_probability = -jnp.logaddexp(0.0, jax.nn.logsumexp(others) - logits[token])
        return logits[token], log_probability, jnp.sum(logits > logits[token])

    return Chances(ids, *jax.vmap(of)(ids))
