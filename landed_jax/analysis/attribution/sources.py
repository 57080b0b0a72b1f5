"""Each head's landed contribution, split over the tokens that it attends to."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.reads.read import Read, chosen_read, gamma_at, sigma_at
from landed_jax.analysis.reads.targets import Target
from landed_jax.analysis.writes.projections import over_layers
from landed_jax.nn.functions import contract_output
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.parameters import Params
from landed_jax.numerics import highest_precision, left_broadcast
from landed_jax.trace import Trace


def split_layer(
    part: Params, pattern: jax.Array, value: jax.Array, vector: Float[Array, "_ _ d_model"]
) -> Float[Array, "batch position head source"]:
    """``⟨A[q,k] v_k W_O[h], vector⟩`` in one layer."""
    W_O = part["attn"]["W_O"]
    d_model, heads, head_dim = W_O.shape
    kv_heads = value.shape[2]
    at_heads = contract_output(vector, W_O.reshape(d_model, -1))
    grouped = at_heads.reshape(*vector.shape[:2], kv_heads, heads // kv_heads, head_dim)
    grouped = jnp.broadcast_to(grouped, (value.shape[0], *grouped.shape[1:]))
    seen = jnp.einsum("bqhgd,bkhd->bqhgk", grouped, value)
    return jnp.swapaxes(pattern, 1, 2) * seen.reshape(*seen.shape[:2], heads, -1)


@highest_precision
def attribute_by_source(
    trace: Trace,
    target: Target | None = None,
    against: Target | None = None,
    *,
    centred: bool = False,
    read: Read | None = None,
) -> Float[Array, "layer batch position head source"]:
    """Landed contributions of ``A[q,k] · v_k W_O[h]``; over the sources they sum to the head's own.

    In units of the read's value. The arguments are those of `attribute`; heads after the read's site are 0. Record
    `SOURCES` beside `WRITES`.

    Raises:
        LandedError: for a trace without weights or the needed sites, and what `attribute` refuses.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (a head as a sum over source tokens).

    >>> from landed_jax import SOURCES, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | SOURCES)
    >>> attribute_by_source(trace.bind(params), target=3).shape
    (2, 1, 3, 4, 3)
    """
    read = chosen_read(trace, target, against, centred, read)
    vector = read.vector * left_broadcast(gamma_at(trace, read.site), read.vector)
    heard, sigma = trace.order.layers_before(read.site)[0], sigma_at(trace, read.site)
    return _by_source(trace.weights()["layers"], trace[HookPoint.PATTERN], trace[HookPoint.VALUE], vector, sigma, heard)


@jax.jit
def _by_source(
    layers: Params, pattern: jax.Array, value: jax.Array, vector: jax.Array, sigma: jax.Array, heard: int | jax.Array
) -> jax.Array:
    def layer(part: Params, pattern: jax.Array, value: jax.Array) -> jax.Array:
        return split_layer(part, pattern, value, vector)

    split = over_layers(layer, layers, pattern, value)
    before = jnp.arange(len(split)) < heard
    return jnp.where(before[:, None, None, None, None], split, 0) / sigma[None, :, :, None, None]
