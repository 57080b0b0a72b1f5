"""Which token comes next."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def choose(
    logits: Float[Array, "batch vocab"], key: jax.Array | None = None, temperature: float | jax.Array = 1.0
) -> Int[Array, " batch"]:
    """The likeliest token of each prompt; with a key, one drawn by the model's probabilities. Pure.

    Of equal logits the first is the likeliest. Each prompt draws by its own part of the key, so what one draws does not
    depend on how many stand behind it.

    Args:
        key: of ``jax.random``.
        temperature: what the logits are divided by before a draw, above 0.

    >>> choose(jnp.array([[0.0, 2.0, 2.0], [1.0, 0.0, 0.0]]))
    Array([1, 0], dtype=int32)
    """
    if key is None:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(len(logits)))
    scaled = logits / jnp.asarray(temperature, logits.dtype)
    return jax.vmap(jax.random.categorical)(keys, scaled).astype(jnp.int32)
