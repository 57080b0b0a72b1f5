"""Writes as they are heard: divided by the reader's σ, multiplied by the reader's γ."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._write import Write, landing_site, write_vector
from landed_jax.nn.functions import heard, scale_stream
from landed_jax.trace import Trace


def _of_mlp(trace: Trace) -> Write:
    """A write of the MLP that is there whatever experts a position chose."""
    return Write("mlp_bias", 0) if trace.config.n_experts else Write("neuron", 0, 2)


@analysis(example=lambda trace: {"writes": [Write("head", 0, 1), _of_mlp(trace)], "site": "next"})
def land(trace: Trace, writes: Sequence[Write], *, site: str) -> Float[Array, "write d_model"]:
    """Landed writes ``w ⊙ γ_s / σ_s`` at a read site that comes after them; under LayerNorm w without its mean.

    Args:
        trace: bound to its weights.
        writes: which (the rows of `Attribution.top` will do).
        site: ``"next"`` (for each write the first norm that reads it), ``"final"``, or a read site's name such as
            ``"3.mlp"``. Never defaulted: the next and the final landing are different vectors.

    Returns:
        ``[write, d_model]``.

    Raises:
        LandedError: for a site before a write, or a write that is not there or stands on padding (see `write_vector`).

    References:
        Zhang & Sennrich, Root Mean Square Layer Normalization, 2019 (the norm; σ held fixed it is linear in the write).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> land(trace.bind(params), [Write("head", 0, 1), Write("neuron", 1, 5)], site="next").shape
    (2, 8)
    """
    sigma, gamma = trace.sigma, trace.gamma

    def landed(write: Write) -> jax.Array:
        index = landing_site(write, trace.config, site)
        column = trace.provenance.recorded(write.position, write.batch)
        vector = heard(write_vector(trace, write), trace.config)
        return scale_stream(vector, sigma[index, write.batch, column], gamma[index])

    if not writes:
        return jnp.zeros((0, trace.config.d_model), sigma.dtype)
    return jnp.stack([landed(write) for write in writes])
