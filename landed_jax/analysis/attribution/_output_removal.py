"""What the stream loses when a component goes from behind an output norm, whose own scale σ′ then changes too.

A component u puts out y_u, one part of an output y, and adds ``w_u = γ′ ⊙ y_u / σ′``; all of the output adds P. Without
y_u the norm divides the rest by σ″, so the stream loses ``Δ_u = P(y) − P(y − y_u) = w_u + ρ_u (w_u − P)`` with
``ρ_u = σ′/σ″ − 1`` and ``σ″² = σ′² − 2⟨y, y_u⟩/d + ⟨y_u, y_u⟩/d``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.scale_change import change, rescale


class OutputRemoval(NamedTuple):
    """One layer's components, each taken from behind its output norm alone.

    Attributes:
        change: ``σ″²/σ′² − 1``.
        growth: ρ.
        attn, mlp: P of attention and of the MLP.
    """

    change: PerWrite
    growth: PerWrite
    attn: Float[Array, "batch position d_model"]
    mlp: Float[Array, "batch position d_model"]

    def lost(self, products: PerWrite, vector: Float[Array, "_ _ d_model"]) -> PerWrite:
        """``⟨Δ, vector⟩`` from ``⟨w, vector⟩``."""
        whole = _by_part(jnp.vecdot(self.attn, vector), jnp.vecdot(self.mlp, vector))
        return products.map(lambda w, rho, P: w + rho * (w - P), self.growth, whole)

    def along(self, writes: LayerWrites) -> Callable[[jax.Array], Callable[..., jax.Array]]:
        """`LayerWrites.along` of what the stream loses; it takes `factors`."""

        def of_rows(rows: Float[Array, "row d_model"]) -> Callable[..., jax.Array]:
            products = writes.along(rows)

            def lost(rho: jax.Array, attn: jax.Array, mlp: jax.Array, *factors: jax.Array) -> jax.Array:
                w, heads, neurons = products(*factors), factors[0].shape[0], factors[1].shape[0]
                of_attn, of_mlp = ((rows @ part)[:, None] for part in (attn, mlp))
                shapes = ((of_attn, heads), (of_mlp, neurons), (of_attn, 1), (of_mlp, 1))
                whole = jnp.concatenate([jnp.tile(part, count) for part, count in shapes], axis=-1)
                return w + rho[None] * (w - whole)

            return lost

        return of_rows

    def factors(self, writes: LayerWrites) -> tuple[jax.Array, ...]:
        """Those of `writes`, behind what is lost with each write and what all of them add."""
        return (self.growth.flat(), self.attn, self.mlp, *writes.factors)

    def lost_squares(self, writes: LayerWrites) -> PerWrite:
        """``⟨Δ, Δ⟩``."""
        with_whole = writes.inner_products_by_part(self.attn, self.mlp)
        whole = _by_part(*(jnp.sum(jnp.square(part), axis=-1) for part in (self.attn, self.mlp)))
        return writes.squared_norms().map(_lost_square, self.growth, with_whole, whole)


def output_removal(writes: LayerWrites) -> OutputRemoval | None:
    """Of one layer; None in a model without output norms, where the stream loses just the write."""
    if writes.attn.sigma is None or writes.mlp.sigma is None:
        return None
    parts = writes.before_output_norm()
    attn, mlp = parts.attn_write(), parts.mlp_write()
    with_whole, squares, d_model = parts.inner_products_by_part(attn, mlp), parts.squared_norms(), attn.shape[-1]

    sigma = _by_part(writes.attn.sigma, writes.mlp.sigma)
    changed = with_whole.map(lambda wx, ww, s: change(wx, ww, s, d_model), squares, sigma)
    growth = changed.map(lambda delta, s: rescale(delta, writes.attn.eps / jnp.square(s)), sigma)
    return OutputRemoval(changed, growth, writes.attn.written(attn), writes.mlp.written(mlp))


def _by_part(attn: Float[Array, "batch position"], mlp: Float[Array, "batch position"]) -> PerWrite:
    """A number of each part's, shaped to stand beside those of its writes."""
    return PerWrite.of_layers(attn[..., None], mlp[..., None], attn, mlp)


def _lost_square(ww: jax.Array, rho: jax.Array, wP: jax.Array, PP: jax.Array) -> jax.Array:
    # ⟨w + ρ (w − P), w + ρ (w − P)⟩ with the small term by itself.
    apart = ww - 2 * wP + PP
    return jnp.maximum(ww + 2 * rho * (ww - wP) + jnp.square(rho) * apart, 0)
