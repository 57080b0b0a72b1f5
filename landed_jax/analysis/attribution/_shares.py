"""The share of a write in what is read: γ and σ folded into the read's vector, contracted, and with σ recomputed.

One computation for all writes of a trace, for one layer's in a streamed pass, and for the embedding's.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._effects import sigma_share
from landed_jax.analysis.reads._read import Read, folded, heard_at, sigma_at
from landed_jax.nn.per_write import PerWrite
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace


@result
class Shares(Result):
    """The shares of writes in a value.

    Attributes:
        landed: landed contributions, in units of the value.
        direct_effect: the value less the value without the write at the read's norm, σ recomputed and everything else
            as it ran; None unless asked for.
        sigma_share: the write's part of σ² at the read's site; 0 where a block reads the stream itself, which has no
            σ. None unless asked for.
    """

    landed: PerWrite
    direct_effect: PerWrite | None
    sigma_share: PerWrite | None


def folded_vectors(trace: Trace, read: Read, effects: bool) -> tuple[Float[Array, "_ _ d_model"], ...]:
    """What every write is contracted with: ``vector ⊙ γ / σ``, and for effects the stream that the norm reads; both
    centred under LayerNorm, so that the writes need not be.

    σ divides the vectors, which are smaller than the shares, unless one vector stands for all positions.
    """
    vector = folded(trace, read)
    vector = vector / sigma_at(trace, read.site)[..., None] if _has_sigma(trace, read) else vector
    return (vector, heard_at(trace, read.site)) if effects else (vector,)


def shares_of(
    trace: Trace, read: Read, products: Sequence[PerWrite], mediated: Callable[[PerWrite, PerWrite], PerWrite]
) -> Shares:
    """The shares of writes, from their inner products with `folded_vectors`.

    Args:
        mediated: from landed contributions and the products with the stream to direct effects less landed
            contributions.
    """
    sigma = sigma_at(trace, read.site)
    landed = products[0] if _has_sigma(trace, read) else products[0].map(jnp.divide, sigma)
    if len(products) == 1:
        return Shares(landed, None, None)
    with_stream, d_model = products[1], trace.config.d_model
    effect = landed.map(jnp.add, mediated(landed, with_stream))
    share = with_stream.map(lambda wx, s: sigma_share(wx, s, d_model), sigma)
    return Shares(landed, effect, share if trace.config.has_norm(read.site) else jax.tree.map(jnp.zeros_like, share))


def _has_sigma(trace: Trace, read: Read) -> bool:
    return read.vector.shape[:2] == sigma_at(trace, read.site).shape
