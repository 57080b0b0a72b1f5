"""Each layer's whole attention write and whole MLP write, removed alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.attribution._reader import reader_of
from landed_jax.analysis.attribution._removal import removal
from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class LayerEffects(Result):
    """What each layer's whole writes, output biases included, do to a value: each removed alone.

    Attributes:
        attn_landed, mlp_landed: landed contributions, σ held fixed; 0 for what is written after the read's site.
        attn_effect, mlp_effect: direct effects, σ recomputed; likewise.
        value: the model's own number, in whose units all of these are.
    """

    attn_landed: Float[Array, "layer batch position"]
    mlp_landed: Float[Array, "layer batch position"]
    attn_effect: Float[Array, "layer batch position"]
    mlp_effect: Float[Array, "layer batch position"]
    value: Float[Array, "batch position"]


@analysis()
def layer_effects(
    trace: Trace,
    question: QuestionLike = None,
) -> LayerEffects:
    """The direct effects of each layer's attention and of its MLP, as `group_effect` of each `layer_group` gives them.

    What stays is summed from the embedding and the other layers' writes, so a layer that is nearly the whole stream
    (a massive coordinate at a first token) keeps all digits. The writes are taken from the trace where it recorded
    ``ATTN_WRITE`` and ``MLP_WRITE``, and else made from their factors: one product with each output matrix. It holds
    ``2L + 1`` vectors a position, so on a large model trace with ``at=[-1]``.

    The question is as for `attribute`.

    Raises:
        LandedError: as `attribute` does.

    References:
        McGrath et al., The Hydra Effect: Emergent Self-repair in Language Model Computations, 2023 (direct effects of
        layers, and total ones beside them).

    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> layer_effects(trace.bind(params), 3).attn_effect.shape
    (2, 1, 3)
    """
    return _layer_effects(bare(trace), resolve(trace, question))


@by_layers
def _layer_effects(trace: Trace, read: Read) -> LayerEffects:
    attn, mlp = _whole_writes(trace)
    heard = jnp.arange(len(trace.order.writes)) < trace.order.writes_before[trace.order.index(read.site)]
    writes = jnp.where(heard[:, None, None, None], trace.order.interleave(attn, mlp), 0)
    before = jnp.cumsum(jnp.concatenate([trace.start[None], writes[:-1]]), axis=0)
    behind = jax.lax.cumsum(jnp.concatenate([writes[1:], jnp.zeros_like(writes[:1])]), axis=0, reverse=True)
    reader = reader_of(trace, read)
    found = jax.vmap(lambda removed, kept: removal(removed, kept, reader))(writes, before + behind)
    landed, effect = (trace.order.by_layer(part) for part in (found.landed, found.effect))
    return LayerEffects(landed[:, 0], landed[:, 1], effect[:, 0], effect[:, 1], read.value)


def _whole_writes(trace: Trace) -> tuple[jax.Array, jax.Array]:
    points = (HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE)
    if all(point.value in trace.sown for point in points):
        attn, mlp = (trace[point] for point in points)
        return attn, mlp

    def layer(writes: LayerWrites) -> tuple[jax.Array, jax.Array]:
        return writes.attn_write(), writes.mlp_write()

    return from_layers(trace, layer, in_turn=True)
