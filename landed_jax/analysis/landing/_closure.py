"""How far the landed writes are from summing to what the norm put out: the error bar of everything else."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.nn.functions import heard, scale_stream
from landed_jax.nn.hook_points import NORMED, WRITES
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class ClosureError(Result):
    """How far the landed writes are from summing to what each norm put out.

    Attributes:
        error: relative to the largest coordinate that is heard.
    """

    error: Float[Array, "site batch position"]


@analysis(record=WRITES | NORMED, bucketed=True)
def closure_error(trace: Trace) -> ClosureError:
    """``max_k |Σ_u land(w_u, s) + β_s − N_s(x)| / max_k |N_s(x)|`` at every read site, N_s being its norm.

    In exact arithmetic it is 0 (β is LayerNorm's own bias). It is the error bar of `land` at each site. Record `NORMED`
    beside `WRITES`. Edits of whole writes, of the stream a norm reads or of what it puts out break the sum, and show
    here. No unit: it is relative to the largest coordinate that is heard.

    Raises:
        LandedError: for a trace without weights or without the needed sites.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (the stream as a sum of writes).

    >>> from landed_jax import NORMED, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | NORMED)
    >>> bool(closure_error(trace.bind(params)).error.max() < 1e-5)
    True
    """
    return ClosureError(_closure_error(bare(trace)))


@by_layers
def _closure_error(trace: Trace) -> jax.Array:
    def layer(writes: LayerWrites) -> tuple[jax.Array, jax.Array]:
        # Head by head, as the writes are defined; one product for all of them is what the model itself did.
        return writes.attn_write(head_by_head=True), writes.mlp_write()

    attn, mlp = from_layers(trace, layer, in_turn=True)
    writes = trace.order.interleave(attn, mlp)
    stream = jnp.cumsum(jnp.concatenate([trace.start[None], writes]), axis=0)[trace.order.writes_before]
    landed = jax.vmap(scale_stream)(heard(stream, trace.config), trace.sigma, trace.gamma)
    if (beta := trace.beta) is not None:
        landed = landed + beta[:, None, None]
    normed = trace.normed
    # A stream of zeros (a padding token's embedding may be one) is heard as zeros, without error.
    size = jnp.maximum(jnp.max(jnp.abs(normed), axis=-1), jnp.finfo(normed.dtype).tiny)
    return jnp.max(jnp.abs(landed - normed), axis=-1) / size
