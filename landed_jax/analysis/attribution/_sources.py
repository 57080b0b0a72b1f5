"""Each head's landed contribution, split over the tokens that it attends to."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.analysis.reads._questions import QuestionLike, resolve
from landed_jax.analysis.reads._read import Read, folded, sigma_at
from landed_jax.analysis.registry import analysis
from landed_jax.analysis.writes._projections import from_layers
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.layer_writes import LayerWrites
from landed_jax.results.result import Result, result
from landed_jax.trace import Trace, bare


@result
class SourceAttribution(Result):
    """Each head's landed contribution by source token.

    Attributes:
        landed: in units of the value; over the sources it sums to the head's own.
    """

    landed: Float[Array, "layer batch position head source"]


@analysis(record=WRITES | SOURCES)
def attribute_by_source(trace: Trace, question: QuestionLike = None) -> SourceAttribution:
    """Landed contributions of ``A[q,k] · v_k`` through each head's output; over the sources they sum to the head's own.

    In units of the read's value. The question is as for `attribute`; heads after its site are 0. Record
    `SOURCES` beside `WRITES`.

    Raises:
        LandedError: for a trace without weights or the needed sites, and what `attribute` refuses.

    References:
        Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (a head as a sum over source tokens).

    >>> from landed_jax import SOURCES, WRITES, ModelConfig, forward, init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> params = init_params(config, jax.random.key(0))
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=WRITES | SOURCES)
    >>> attribute_by_source(trace.bind(params), 3).landed.shape
    (2, 1, 3, 4, 3)
    """
    return SourceAttribution(_by_source(bare(trace), resolve(trace, question)))


@by_layers
def _by_source(trace: Trace, read: Read) -> jax.Array:
    vector = folded(trace, read)

    def layer(writes: LayerWrites, pattern: jax.Array, value: jax.Array) -> jax.Array:
        return writes.by_source(vector, pattern, value)

    split = from_layers(trace, layer, trace[HookPoint.PATTERN], trace[HookPoint.VALUE])
    before = jnp.arange(len(split)) < trace.order.layers_before(read.site)[0]
    split = jnp.where(before[:, None, None, None, None], split, 0)
    return split / sigma_at(trace, read.site)[None, :, :, None, None]
