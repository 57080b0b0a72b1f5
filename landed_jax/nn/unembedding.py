"""The map from what the final norm puts out to logits: its rows, a factor, and a cap."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.products import linear
from landed_jax.nn.table_rows import rows_of_table


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Unembedding:
    """``l = scale · W_U x``, and the model's own logit ``cap · tanh(l / cap)`` where it has a cap.

    What reads the stream, and what its writes sum to, is l.

    Attributes:
        W_U: the rows as they are held; `rows` gives them with the factor.

    >>> unembedding = Unembedding(jnp.eye(2), scale=0.5, cap=1.0)
    >>> unembedding.uncapped(jnp.array([4.0, 0.0])).tolist()
    [2.0, 0.0]
    >>> [round(logit, 3) for logit in unembedding.logits(jnp.array([4.0, 0.0])).tolist()]
    [0.964, 0.0]
    """

    W_U: Float[Array, "vocab d_model"]
    scale: float = dataclasses.field(default=1.0, metadata={"static": True})
    cap: float | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def of(cls, config: ModelConfig, W_U: Float[Array, "vocab d_model"]) -> "Unembedding":
        return cls(W_U, config.logit_scale, config.logit_cap)

    def scaled(self, value: jax.Array) -> jax.Array:
        """A product with `W_U`, times the factor."""
        return value if self.scale == 1 else value * self.scale

    def rows(self, ids: Int[Array, "*at"], dtype: Any) -> Float[Array, "*at d_model"]:
        """What reads each token's l."""
        return self.scaled(rows_of_table(self.W_U, ids).astype(dtype))

    def mean_row(self, dtype: Any) -> Float[Array, " d_model"]:
        """The mean over the vocabulary of `rows`."""
        return self.scaled(jnp.sum(self.W_U, axis=0, dtype=dtype) / len(self.W_U))

    def uncapped(self, x: Float[Array, "*at d_model"]) -> Float[Array, "*at vocab"]:
        """l of every token."""
        return self.scaled(linear(x, self.W_U))

    def logits(self, x: Float[Array, "*at d_model"]) -> Float[Array, "*at vocab"]:
        """The model's own logits."""
        return self.capped(self.uncapped(x))

    def slope(self, value: jax.Array) -> jax.Array:
        """The derivative of `capped`."""
        return jnp.ones_like(value) if self.cap is None else 1 - jnp.square(jnp.tanh(value / self.cap))

    def capped_change(self, value: jax.Array, change: jax.Array) -> jax.Array:
        """``capped(value + change) − capped(value)``, with the digits of a small change."""
        if self.cap is None:
            return change
        before, after = jnp.tanh(value / self.cap), jnp.tanh((value + change) / self.cap)
        # tanh a − tanh b = tanh(a − b) (1 − tanh a tanh b)
        return self.cap * jnp.tanh(change / self.cap) * (1 - after * before)

    def capped(self, value: jax.Array) -> jax.Array:
        """The model's own logit from l."""
        return value if self.cap is None else self.cap * jnp.tanh(value / self.cap)
