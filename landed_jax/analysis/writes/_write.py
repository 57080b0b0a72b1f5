"""One write by name, and the vector that it adds to the stream."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import output_scales
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import HookPoint
from landed_jax.nn.output_weights import output_bias, output_weights
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import is_concrete
from landed_jax.trace import Trace

EMBEDDING_FIELDS = {"embedding": "embedding", "position": "position_embedding"}
"""`PerWrite`'s fields of the writes before the layers, by the kinds of `Write`."""
Kind = Literal["embedding", "position", "head", "neuron", "attn_bias", "mlp_bias"]


@dataclass(frozen=True)
class Write:
    """The name of one write: its kind, layer and index, in one prompt of the batch, at one position.

    ``"position"`` is the kind of a learned position's vector, the write beside the token's embedding.
    A neuron of a model with experts is one of `expert`, and is named ``layer.expert.index``.
    `position` is a column of the tokens (negative: from the end). With `source`, a head's write is only the part
    that it took from that column: ``A[q,k] v_k`` through the head's output matrix.

    >>> Write("neuron", layer=3, index=17)
    Write(kind='neuron', layer=3, index=17, batch=0, position=-1, source=None, expert=None)
    """

    kind: Kind
    layer: int | None = None
    index: int | None = None
    batch: int = 0
    position: int = -1
    source: int | None = None
    expert: int | None = None


def next_site(write: Write, config: ModelConfig) -> str:
    """The first read site after a write: the write's next landing.

    >>> config = ModelConfig(vocab_size=2, d_model=2, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2)
    >>> next_site(Write("embedding"), config), next_site(Write("head", 0, 0), config)
    ('0.attn', '0.mlp')
    """
    _check(write, config)
    order = StreamOrder.of(config)
    if write.layer is None:
        return order.sites[0]
    return order.sites[(order.next_attn if write.kind in ("head", "attn_bias") else order.next_mlp)[write.layer]]


def landing_site(write: Write, config: ModelConfig, site: str) -> int:
    """The place of ``"next"``, ``"final"`` or a read site's name in the order of sites.

    Raises:
        LandedError: for a site that comes before the write.
    """
    order = StreamOrder.of(config)
    first = order.index(next_site(write, config))
    index = first if site == "next" else order.index(site)
    if index < first:
        raise LandedError(
            f"{site} reads the stream before {describe(write)} is written; its next landing is {order.sites[first]}."
        )
    return index


def describe(write: Write) -> str:
    """A write's name as tables print it.

    >>> describe(Write("head", layer=3, index=1)), describe(Write("neuron", layer=3, index=17))
    ('3.head.1', '3.neuron.17')
    >>> describe(Write("neuron", layer=3, index=17, expert=5))  # layer.expert.index
    '3.5.17'
    """
    kind = write.kind if write.expert is None else write.expert
    return ".".join(str(part) for part in (write.layer, kind, write.index) if part is not None)


def _check(write: Write, config: ModelConfig) -> None:
    sizes = {"head": config.n_heads, "neuron": config.d_ff}
    if write.kind not in get_args(Kind):
        raise LandedError(f"{write.kind!r} is not a kind of write.")
    if write.kind == "position" and not config.learned_positions:
        raise LandedError("This model learned no positions, so no write is theirs.")
    if write.kind in EMBEDDING_FIELDS:
        return
    if write.layer is None or not 0 <= write.layer < config.n_layers:
        raise LandedError(f"{describe(write)}: layers run from 0 to {config.n_layers - 1}.")
    size = sizes.get(write.kind)
    if size is not None and (write.index is None or not 0 <= write.index < size):
        raise LandedError(f"{describe(write)}: {write.kind}s run from 0 to {size - 1} in each layer.")
    _check_expert(write, config)


def _check_expert(write: Write, config: ModelConfig) -> None:
    if write.kind != "neuron" or not config.n_experts:
        if write.expert is not None:
            raise LandedError(f"{describe(write)}: only neurons of a model with experts are an expert's.")
    elif write.expert is None:
        raise LandedError(f"{describe(write)}: a neuron of this model is one of an expert: give expert=.")
    elif not 0 <= write.expert < config.n_experts:
        raise LandedError(f"{describe(write)}: experts run from 0 to {config.n_experts - 1} in each layer.")


def neuron_index(write: Write, ids: Int[Array | np.ndarray, " slot"] | None, config: ModelConfig) -> int | Array:
    """A neuron's place along the axis ``neuron``: with experts they stand there as their position chose them.

    Args:
        ids: the experts that the position chose, where there are experts.

    Raises:
        LandedError: where the write's expert was not chosen. (Inside ``jit`` that cannot be seen: the place is then
            beyond the last.)
    """
    assert write.index is not None
    if ids is None or write.expert is None:
        return write.index
    mine = ids == write.expert
    if is_concrete(mine) and not mine.any():
        chosen = ", ".join(map(str, np.asarray(ids).tolist()))
        raise LandedError(f"{describe(write)} writes nothing: this position chose the experts {chosen}.")
    place = jnp.argmax(mine) * config.d_ff + write.index
    return jnp.where(jnp.any(mine), place, config.n_neurons)


@analysis(example=lambda trace: {"write": Write("head", 0, 1)})
def write_vector(trace: Trace, write: Write) -> Float[Array, " d_model"]:
    """What one write adds to the residual stream.

    Raises:
        LandedError: for a write that this model or trace does not have, or that stands on padding (inside ``jit``
            padding cannot be seen, and the vector there means nothing).

    >>> import jax
    >>> from landed_jax import ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> write_vector(trace.bind(params), Write("head", layer=1, index=3)).shape
    (8,)
    """
    _check(write, trace.config)
    batch, column = write.batch, trace.provenance.recorded(write.position, write.batch)
    _check_source(write, trace.tokens.ids.shape[-1])
    embedding, layers = trace[HookPoint.EMBEDDING], trace.weights()["layers"]
    if write.kind == "embedding":
        return embedding[batch, column]
    if write.kind == "position":
        return trace[HookPoint.POSITION_EMBEDDING][batch, column]
    assert write.layer is not None
    layer, is_attn = write.layer, write.kind in ("head", "attn_bias")

    def added(output: jax.Array) -> jax.Array:
        scale = jax.tree.map(lambda values: values[layer], output_scales(trace)[0 if is_attn else 1])
        at = scale if scale.sigma is None else dataclasses.replace(scale, sigma=scale.sigma[batch, column][None, None])
        return at.written(output[None, None])[0, 0]

    if write.kind in ("attn_bias", "mlp_bias"):
        chosen = jax.tree.map(lambda leaf: leaf[layer, batch, column], trace.chosen)
        bias = output_bias(layers, write.kind, write.layer, chosen)
        return jnp.zeros_like(embedding[0, 0]) if bias is None else added(bias.astype(embedding.dtype))
    assert write.index is not None
    weights = output_weights(layers, write.kind, write.layer, write.index, write.expert)
    if write.kind == "neuron":
        ids = None if trace.chosen is None else trace.chosen.ids[layer, batch, column]
        own = trace[HookPoint.NEURON][write.layer, batch, column]
        a = jnp.take(own, neuron_index(write, ids, trace.config), mode="fill", fill_value=0)
        return added(a * weights.astype(a.dtype))
    if write.source is None:
        z = trace[HookPoint.HEAD][write.layer, batch, column, write.index]
    else:
        kv_head = write.index // trace.config.group_size
        weight = trace[HookPoint.PATTERN][write.layer, batch, write.index, column, write.source]
        z = weight * trace[HookPoint.VALUE][write.layer, batch, write.source, kv_head]
    return added(weights.astype(z.dtype) @ z)


def _check_source(write: Write, length: int) -> None:
    if write.source is None:
        return
    if write.kind != "head":
        raise LandedError(f"{describe(write)}: only a head's write has a source token.")
    if not 0 <= write.source < length:
        raise LandedError(f"{describe(write)}: there is no source {write.source}, columns run from 0 to {length - 1}.")
