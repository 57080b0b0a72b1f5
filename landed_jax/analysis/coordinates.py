"""How few coordinates of the landed stream carry a logit."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.analysis.reads import Read, chosen_read, normed_at
from landed_jax.analysis.targets import Target
from landed_jax.numerics import highest_precision
from landed_jax.trace import Trace


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Coordinates:
    """Each coordinate's signed contribution to a value, and the value."""

    contributions: Float[Array, "batch position d_model"]
    value: Float[Array, "batch position"]

    @property
    def closure_error(self) -> Float[Array, "batch position"]:
        """``|Σ_k contribution_k − value|``, in units of the value."""
        return jnp.abs(jnp.sum(self.contributions, axis=-1) - self.value)

    def count(self, fraction: float) -> Int[Array, "batch position"]:
        """The fewest coordinates, largest |contribution| first, whose signed sum first reaches that part of the value.

        >>> c = Coordinates(jnp.array([[[3.0, -2.0, 1.0, 0.5]]]), jnp.array([[2.5]]))
        >>> int(c.count(0.5)[0, 0]), int(c.count(1.0)[0, 0])
        (1, 1)
        """
        order = jnp.argsort(-jnp.abs(self.contributions), axis=-1)
        sums = jnp.cumsum(jnp.take_along_axis(self.contributions, order, axis=-1), axis=-1)
        value = self.value[..., None]
        sums = jnp.concatenate([jnp.zeros_like(value), sums], axis=-1)
        reached = sums * jnp.sign(value) >= fraction * jnp.abs(value)
        # Rounding can leave the whole sum a hair under the whole value: all coordinates always reach it.
        whole = sums.shape[-1] - 1
        return jnp.where(reached.any(axis=-1), jnp.argmax(reached, axis=-1), whole)


@highest_precision
def coordinates(
    trace: Trace,
    target: Target | None = None,
    against: Target | None = None,
    *,
    centred: bool = False,
    read: Read | None = None,
) -> Coordinates:
    """The contribution of every coordinate of the final landed stream: ``x_k γ_k u_k / σ``.

    The arguments are those of `attribute`.

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> coordinates(trace.bind(params), target=3).contributions.shape
    (1, 3, 8)
    """
    read = chosen_read(trace, target, against, centred, read)
    return Coordinates(normed_at(trace, read.site) * read.vector, read.value - read.offset)
