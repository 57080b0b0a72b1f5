"""How the residual stream grows from read site to read site, and which way each layer's writes push it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.nn.hook_points import RESIDUALS, WRITES
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import safe_root
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class ResidualGrowth(Result):
    """The stream's size at every read site, and what each layer's attention and MLP do to it.

    The ``write`` axis is the attention and MLP of each layer in order (`writes` names it). Each is added to the stream
    that the one before left, also in a parallel block, where the stream between the two is read by no norm. All sizes
    are root mean squares over coordinates, in units of the stream: of the whole stream, its mean included, also where
    LayerNorm takes that off.

    Attributes:
        rms: ``sqrt(mean(x²))`` of the stream that each site reads, without the norm's ε.
        ratio: the stream's rms after each write over that before it; 0 where the stream before was 0.
        along: the write's signed part along the stream that it is added to: below 0 where it shrinks it.
        across: the size of the write's part at right angles to that stream.
        closure_error: how far ``hypot(rms + along, across)`` of the stream before a write is from the rms after it,
            relative to the larger of the two.
    """

    rms: Float[Array, "site batch position"]
    ratio: Float[Array, "write batch position"]
    along: Float[Array, "write batch position"]
    across: Float[Array, "write batch position"]
    closure_error: Float[Array, "write batch position"]

    @property
    def sites(self) -> tuple[str, ...]:
        """The names along the ``site`` axis."""
        return StreamOrder.of(self.config).sites

    @property
    def writes(self) -> tuple[str, ...]:
        """The names along the ``write`` axis: ``0.attn_write, 0.mlp_write, …``"""
        return StreamOrder.of(self.config).writes


@analysis(record=WRITES | RESIDUALS, bucketed=True)
def residual_growth(trace: Trace) -> ResidualGrowth:
    """The stream's root mean square at every read site, and each layer's writes along and across the stream.

    The writes are made from their factors, one layer at a time. Record `RESIDUALS` beside `WRITES`. Edits of whole
    writes or of the stream a norm reads show in the closure error.

    Raises:
        LandedError: for a trace without weights or without the needed sites.

    References:
        Heimersheim & Turner, Residual stream norms grow exponentially over the forward pass, 2023.

    >>> from landed_jax import RESIDUALS, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | RESIDUALS)
    >>> growth = residual_growth(trace.bind(params))
    >>> growth.rms.shape, growth.along.shape, growth.writes[0]
    ((5, 1, 3), (4, 1, 3), '0.attn_write')
    >>> bool(growth.closure_error.max() < 1e-5)
    True
    """
    return _residual_growth(bare(trace))


@by_layers
def _residual_growth(trace: Trace) -> ResidualGrowth:
    stream = trace.residual

    def layer(writes: LayerWrites, read: jax.Array) -> tuple[jax.Array, ...]:
        attn = writes.attn_write()
        before = jnp.stack([read[0], read[0] + attn if trace.order.parallel else read[1]])
        return _rms(before), *_along_and_across(jnp.stack([attn, writes.mlp_write()]), before)

    layers = from_layers(trace, layer, trace.order.by_layer(stream[:-1]))
    between, along, across = (trace.order.interleave(values[:, 0], values[:, 1]) for values in layers)
    size = jnp.concatenate([between, _rms(stream[-1:])])
    larger = jnp.maximum(size[:-1], size[1:])
    error = jnp.abs(safe_root(jnp.square(size[:-1] + along) + jnp.square(across)) - size[1:])
    return ResidualGrowth(
        rms=_rms(stream),
        ratio=jnp.where(size[:-1] > 0, size[1:] / jnp.where(size[:-1] > 0, size[:-1], 1), 0),
        along=along,
        across=across,
        closure_error=error / jnp.where(larger > 0, larger, 1),
    )


def _along_and_across(written: jax.Array, stream: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The write's signed part along the stream and the size of the rest; all of it is across a stream of zeros."""
    size = _rms(stream)
    unit = stream / jnp.where(size > 0, size, 1)[..., None]
    along = jnp.mean(written * unit, axis=-1)
    return along, _rms(written - along[..., None] * unit)


def _rms(x: Float[Array, "*batch d_model"]) -> Float[Array, "*batch"]:
    return safe_root(jnp.mean(jnp.square(x), axis=-1))
